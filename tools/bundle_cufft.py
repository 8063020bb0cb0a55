"""bundle_cufft.py - a copy of libcufft with the kernels that chiasm may ask for, the others zeroed: that compresses well.

Its device code is a row of fat binaries of one image each: cubins of several architectures, PTX named after the length of the transform, and LTO code that
only callbacks and patient planning use.  Kept: cubins of the wanted architectures, and PTX of float and double whose length has no prime factor above 7
(as compute/conv.c chooses them) and is at most 8192, and of helpers that have no length.  What is asked for and gone fails to load; it never computes something else.
"""
import re
import struct

MAGIC = struct.pack("<I", 0xBA55ED50)  # then: version u16, size of this header u16, bytes that follow u64
PTX, CUBIN = 1, 2
LONGEST = 8192


def images(library):
    """(kind, architecture, place of the payload, its bytes) of every image."""
    at = library.find(MAGIC)
    while at >= 0:
        version, header, size = struct.unpack_from("<HHQ", library, at + 4)
        if version != 1 or header != 16 or at + 16 + size > len(library):
            at = library.find(MAGIC, at + 4)
            continue
        place, end = at + 16, at + 16 + size
        while place < end:
            kind, _, head, payload = struct.unpack_from("<HHIQ", library, place)
            yield kind, struct.unpack_from("<I", library, place + 28)[0], place + head, payload
            place += head + payload
        at = library.find(MAGIC, end)


def lz4_start(packed, wanted):
    """The first bytes of an LZ4 block."""
    out, i = bytearray(), 0

    def length(nibble):
        nonlocal i
        n, more = nibble, 255 if nibble == 15 else 0
        while more == 255:
            more, i = packed[i], i + 1
            n += more
        return n

    try:
        while len(out) < wanted:
            token, i = packed[i], i + 1
            literal = length(token >> 4)
            out += packed[i:i + literal]
            i += literal
            start, i = len(out) - (packed[i] | packed[i + 1] << 8), i + 2
            for k in range(length(token & 15) + 4):
                out.append(out[start + k])
    except IndexError:  # the end of what was given
        pass
    return bytes(out)


def kernel_name(packed):
    for wanted in (1500, 6000, 20000):
        found = re.search(rb"\.entry (\w+)\(", lz4_start(packed, wanted))
        if found:
            return found[1].decode()
    return ""


def smooth(n):
    for factor in (2, 3, 5, 7):
        while n and n % factor == 0:
            n //= factor
    return n <= 1


def wanted(name):
    length = re.match(r"_Z\d+(\w+?)ILj(\d+)E", name)
    if not length:
        return True
    return int(length[2]) <= LONGEST and smooth(int(length[2])) and "half" not in name and "bfloat" not in name and "mgpu" not in name


def trim(library, architectures):
    """The bytes of the smaller copy, of the same length, and (images kept, images, bytes of device code kept)."""
    out, kept, count, size = bytearray(library), 0, 0, 0
    for kind, architecture, at, n in images(library):
        keep = architecture in architectures if kind == CUBIN else kind == PTX and architecture <= max(architectures) and wanted(kernel_name(library[at:at + min(n, 20000)]))
        count += 1
        kept += keep
        size += n if keep else 0
        if not keep:
            out[at:at + n] = bytes(n)
    return bytes(out), (kept, count, size)
