/* npy.c - format: numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#include "input/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>


static bool reject(npy *a, const char **why, const char *text)
{
    npy_close(a);
    *why = text;
    return false;
}

/* The header is a Python dictionary with the keys descr, fortran_order and shape. */
static const char *read_header(npy *a, const char *text)
{
    const char *descr = strstr(text, "'descr':"), *order = strstr(text, "'fortran_order':"), *shape = strstr(text, "'shape':");
    if (!descr || !order || !shape || !(shape = strchr(shape, '(')) || !(descr = strchr(descr + 8, '\''))) {
        return "its header is damaged";
    }
    a->kind = descr[2];
    a->bytes = atoi(descr + 3);
    a->swapped = descr[1] == '>';
    bool known = (a->kind == 'f' && (a->bytes == 4 || a->bytes == 8)) || (a->kind == 'b' && a->bytes == 1) ||
                 ((a->kind == 'i' || a->kind == 'u') && (a->bytes == 1 || a->bytes == 2 || a->bytes == 4 || a->bytes == 8));
    if (!strchr("<>|=", descr[1]) || !known) {
        return "its numbers are not of a type that is read (bool, int8 to int64, uint8 to uint64, float32, float64)";
    }
    order += strlen("'fortran_order':");
    if (strncmp(order + strspn(order, " "), "True", 4) == 0) {
        return "it is in Fortran order; save it by numpy.ascontiguousarray";
    }
    for (char *at = (char *)shape + 1; *at && *at != ')';) {
        char *end;
        long long n = strtoll(at, &end, 10);
        if (end == at || n < 0 || a->rank == NPY_MAX_RANK) {
            return "its shape is not understood, or has more than 5 dimensions";
        }
        a->dims[a->rank++] = n;
        at = end + strspn(end, ", ");
    }
    return NULL;
}

bool npy_open(npy *a, const char *path, const char **why)
{
    *a = (npy){0};
    FILE *f = fopen(path, "rb");
    a->file = f;
    if (!f) {
        return reject(a, why, "cannot be opened");
    }
    unsigned char head[12] = {0};
    if (fread(head, 1, 10, f) != 10 || memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 || head[6] > 3) {
        return reject(a, why, "is no .npy file");
    }
    size_t length = head[8] | (size_t)head[9] << 8;
    if (head[6] > 1) {
        if (fread(head + 10, 1, 2, f) != 2) {
            return reject(a, why, "is truncated in its header");
        }
        length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    char text[4096] = "";
    if (length >= sizeof text || fread(text, 1, length, f) != length) {
        return reject(a, why, "is truncated in its header, or the header is too long");
    }
    const char *problem = read_header(a, text);
    if (problem) {
        return reject(a, why, problem);
    }
    a->data_at = ftell(f);
    double need = a->bytes;
    for (int i = 0; i < a->rank; i++) {
        need *= (double)a->dims[i];
    }
    struct stat st;
    if (fstat(fileno(f), &st) != 0 || (double)(st.st_size - a->data_at) < need) {
        return reject(a, why, "is truncated: it is shorter than its header says");
    }
    return true;
}

void npy_close(npy *a)
{
    if (a->file) {
        fclose(a->file);
    }
    *a = (npy){0};
}

static double element(const npy *a, const unsigned char *raw)
{
    union {
        unsigned char byte[8];
        float f4;
        double f8;
        int8_t i1;
        int16_t i2;
        int32_t i4;
        int64_t i8;
        uint8_t u1;
        uint16_t u2;
        uint32_t u4;
        uint64_t u8;
    } v;
    for (int i = 0; i < a->bytes; i++) {
        v.byte[i] = raw[a->swapped ? a->bytes - 1 - i : i];
    }
    switch (a->kind) {
    case 'f':
        return a->bytes == 4 ? (double)v.f4 : (double)v.f8;
    case 'i':
        return a->bytes == 1 ? v.i1 : a->bytes == 2 ? v.i2 : a->bytes == 4 ? (double)v.i4 : (double)v.i8;
    default:
        return a->bytes == 1 ? v.u1 : a->bytes == 2 ? v.u2 : a->bytes == 4 ? (double)v.u4 : (double)v.u8;
    }
}

bool npy_read(npy *a, int64_t first, int64_t count, double *values)
{
    enum { PIECE = 4096 };
    unsigned char raw[PIECE * 8];
    if (fseek(a->file, a->data_at + (long)(first * a->bytes), SEEK_SET) != 0) {
        return false;
    }
    for (int64_t done = 0; done < count;) {
        size_t n = (size_t)(count - done < PIECE ? count - done : PIECE);
        if (fread(raw, (size_t)a->bytes, n, a->file) != n) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            values[done + (int64_t)i] = element(a, raw + i * (size_t)a->bytes);
        }
        done += (int64_t)n;
    }
    return true;
}
