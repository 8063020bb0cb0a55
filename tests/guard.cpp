/* guard.cpp - every op of the CPU's table between opening and closing the memory it works on; C++ for the one wrapper that fits all of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <map>
#include <mutex>
#include <vector>

extern "C" {
#include "compute/backend.h"
}
#include "guard.h"

/* --- memory: one arena, first fit, each array between two sentinels ----------------------------------------------------- */
enum { SENTINEL = 256, ALIGN = 256 };
static const int mark = 0xA5;
static char marks[SENTINEL + ALIGN];
static const size_t arena_bytes = (size_t)16 << 30;
static char *arena;
static size_t in_use; /* bytes of the arena that arrays ever reached */
struct array {
    size_t bytes, room; /* room: with both sentinels */
};
static std::map<size_t, array> arrays; /* by where their room begins */
static std::mutex turn;                /* the CPU's ops are called by several threads */
static int opened;

[[noreturn]] static void wrong(const char *what, const char *op)
{
    fprintf(stderr, "guard: %s%s\n", what, op);
    abort();
}

/* Large pages: what opening and closing costs goes by their number. */
enum { PAGE = 2 << 20 };
static size_t up_to_page(size_t bytes)
{
    return ((size_t)arena + bytes + PAGE - 1) / PAGE * PAGE - (size_t)arena;
}

static void let(bool touch)
{
    opened += touch ? 1 : -1;
    if (opened == (touch ? 1 : 0) && mprotect(arena, in_use, touch ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
        wrong("mprotect failed", "");
    }
}

/* Most of the time of a test is spent here. */
static void look(size_t at, const array &a, const char *op)
{
    const char *before = arena + at, *after = before + SENTINEL + a.bytes;
    if (memcmp(before, marks, SENTINEL) != 0) {
        wrong("an array was written below its start in ", op);
    }
    if (memcmp(after, marks, a.room - a.bytes - SENTINEL) != 0) {
        wrong("an array was written beyond its end in ", op);
    }
}

/* Open while it lives; whatever was written meanwhile, the sentinels stand when it ends. */
struct opening {
    const char *op;
    explicit opening(const char *op_) : op(op_)
    {
        std::lock_guard<std::mutex> mine(turn);
        let(true);
    }
    ~opening()
    {
        std::lock_guard<std::mutex> mine(turn);
        for (auto &a : arrays) {
            look(a.first, a.second, op);
        }
        let(false);
    }
};

static dreal *watched_alloc(backend *, int64_t n)
{
    std::lock_guard<std::mutex> mine(turn);
    size_t bytes = (size_t)n * sizeof(real), room = (bytes + ALIGN - 1) / ALIGN * ALIGN + 2 * SENTINEL, at = 0;
    for (auto &a : arrays) {
        if (a.first >= at + room) {
            break;
        }
        at = a.first + a.second.room;
    }
    if (at + room > arena_bytes) {
        wrong("the arena is full", "");
    }
    if (at + room > in_use) {
        in_use = up_to_page(at + room);
        opened += 1; /* what is new is opened as well */
        mprotect(arena, in_use, PROT_READ | PROT_WRITE);
    } else {
        let(true);
    }
    memset(arena + at, mark, room);
    memset(arena + at + SENTINEL, 0xFF, bytes); /* not a number */
    arrays[at] = {bytes, room};
    let(false);
    return (dreal *)(arena + at + SENTINEL);
}

static void watched_release(backend *, dreal *p)
{
    if (p) {
        std::lock_guard<std::mutex> mine(turn);
        auto a = arrays.find((size_t)((char *)p - arena) - SENTINEL);
        if (a == arrays.end()) {
            wrong("release of what alloc did not give", "");
        }
        let(true);
        look(a->first, a->second, "release");
        memset((void *)p, 0xFF, a->second.bytes);
        let(false);
        arrays.erase(a);
        if (opened == 0) { /* every page of the arena that is in use costs time in every op */
            in_use = arrays.empty() ? 0 : up_to_page(arrays.rbegin()->first + arrays.rbegin()->second.room);
        }
    }
}

static void say_fault(int number, siginfo_t *info, void *)
{
    static const char text[] = "guard: backend memory was touched outside an op\n";
    char *at = (char *)info->si_addr;
    if (at >= arena && at < arena + arena_bytes && write(2, text, sizeof text - 1) < 0) {
        _exit(1);
    }
    signal(number, SIG_DFL); /* it happens again on return */
}

/* --- what comes later: fetched numbers at the next sync or fetched, from where they stood when they were asked for ---------- */
struct parcel {
    void (*got)(void *ctx, const real *at);
    std::vector<char> ctx;
    std::vector<real> numbers;
};
static std::vector<parcel> parcels;

static void late_fetch(backend *, const dreal *from, int64_t n, void (*got)(void *ctx, const real *at), const void *ctx, size_t ctx_bytes)
{
    opening now("fetch");
    const char *c = (const char *)ctx;
    const real *at = host_const(from);
    parcels.push_back({got, std::vector<char>(c, c + ctx_bytes), std::vector<real>(at, at + n)});
}

static void late_fetched(backend *)
{
    std::vector<parcel> now;
    now.swap(parcels);
    for (auto &p : now) {
        p.got(p.ctx.data(), p.numbers.data());
    }
}

static void late_sync(backend *be)
{
    {
        opening now("sync"); /* for the sentinels: the CPU has nothing to wait for */
    }
    late_fetched(be);
}

/* --- the table ------------------------------------------------------------------------------------------------------------ */
static const backend_ops *plain;
static backend_ops guarded;
template <auto op> static const char *name_of;

template <auto op, class R, class... A> static R watched(A... a)
{
    opening now(name_of<op>);
    return (plain->*op)(a...);
}

template <auto op, class R, class... A> static void watch(R (*backend_ops::*)(A...), const char *name)
{
    name_of<op> = name;
    guarded.*op = watched<op, R, A...>;
}

static void make_table(void)
{
    guarded = *plain;
    guarded.name = "guard";
    guarded.alloc = watched_alloc;
    guarded.release = watched_release;
    guarded.fetch = late_fetch;
    guarded.fetched = late_fetched;
    guarded.sync = late_sync;
#define WATCH(op) watch<&backend_ops::op>(&backend_ops::op, #op)
    WATCH(upload), WATCH(download), WATCH(host_alloc), WATCH(host_release), WATCH(move), WATCH(fill), WATCH(add), WATCH(reserve), WATCH(repeat_begin), WATCH(repeat_end);
    WATCH(pack), WATCH(unpack), WATCH(edge), WATCH(unpack_add), WATCH(take), WATCH(edge_back);
    WATCH(conv_create), WATCH(conv_look), WATCH(conv_destroy), WATCH(conv), WATCH(conv_taped), WATCH(conv_set), WATCH(conv_back);
    WATCH(conv_start_back), WATCH(conv_start);
    WATCH(blur_create), WATCH(blur_destroy), WATCH(blur_set), WATCH(blur_set_taps), WATCH(blur), WATCH(blur_back), WATCH(blur_back_par);
    WATCH(heat_step), WATCH(heat_step_back);
    WATCH(scan), WATCH(map), WATCH(combine), WATCH(normalise), WATCH(unit_sums), WATCH(unit_line), WATCH(unit_line_back);
    WATCH(pool_space), WATCH(pool_space_back), WATCH(noise), WATCH(scan_back), WATCH(map_back), WATCH(combine_back), WATCH(normalise_back);
    WATCH(neuron), WATCH(neuron_back), WATCH(loss);
    WATCH(gain_step), WATCH(gain_q), WATCH(gain_convis), WATCH(gain_step_back), WATCH(gain_convis_back), WATCH(gain_q_back);
    WATCH(link_create), WATCH(link_destroy), WATCH(link), WATCH(link_back), WATCH(lif), WATCH(lif_back);
#undef WATCH
    /* One that was forgotten is still the CPU's own, as is each_leaf, that calls host code. */
    void *const *ours = (void *const *)&guarded, *const *theirs = (void *const *)plain;
    int same = 0;
    for (size_t i = 0; i < sizeof guarded / sizeof *ours; i++) {
        same += ours[i] == theirs[i];
    }
    if (same != 1) {
        wrong("an op of the table is not watched", "");
    }
}

extern "C" backend *guard_open(int nthread)
{
    backend *be = backend_open("cpu", nthread);
    if (!arena) {
        arena = (char *)mmap(NULL, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (arena == (char *)MAP_FAILED) {
            wrong("no address space", "");
        }
        madvise(arena, arena_bytes, MADV_HUGEPAGE);
        memset(marks, mark, sizeof marks);
        plain = be->ops;
        make_table();
        struct sigaction action = {};
        action.sa_sigaction = say_fault;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGSEGV, &action, NULL);
    }
    be->ops = &guarded;
    return be;
}

extern "C" void guard_close(backend *be)
{
    be->ops = plain;
    backend_close(be);
}
