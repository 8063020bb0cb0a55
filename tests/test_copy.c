/* test_copy.c - what crosses between host and device: uploads whose source changes at once, frames fetched from arrays that are written again. */
#include "base/error.h"
#include "base/threads.h"
#include "device.h"
#include "test.h"

static backend *be;

static real value(int64_t i, int round)
{
    return (real)((i * 7919 + round * 104729) % 65521);
}

static void number(real *p, int64_t n, int round)
{
    for (int64_t i = 0; i < n; i++) {
        p[i] = value(i, round);
    }
}

static int64_t differ(const real *p, int64_t n, int round)
{
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++) {
        wrong += p[i] != value(i, round);
    }
    return wrong;
}

/* Sizes below and above what goes in one piece; one source for all of them. */
static void uploads_by(int nthread)
{
    static const int64_t size[] = {1, 7, 16384, 16385, 100003, 3 << 20, 5000011};
    enum { N = sizeof size / sizeof *size };
    dreal *at[N];
    real *p = MEMORY_NEW(real, size[N - 1]);
    threads_use(nthread);
    for (int i = 0; i < N; i++) {
        at[i] = be->ops->alloc(be, size[i]);
        number(p, size[i], i);
        be->ops->upload(be, at[i], p, size[i]);
    }
    for (int i = 0; i < N; i++) {
        be->ops->download(be, p, at[i], size[i]);
        CHECK(differ(p, size[i], i) == 0);
        be->ops->release(be, at[i]);
    }
    memory_free(p);
    threads_use(1);
}

static void uploads(void)
{
    uploads_by(1);
    uploads_by(3);
}

/* Many small ones in a row: more than stand in pinned memory at once. */
static void many_uploads(void)
{
    enum { N = 600, EACH = 4001 };
    dreal *at = be->ops->alloc(be, (int64_t)N * EACH);
    real *p = be->ops->host_alloc(be, (int64_t)N * EACH);
    CHECK(p[0] == 0 && p[N * EACH - 1] == 0);
    for (int i = 0; i < N; i++) {
        number(p, EACH, i);
        be->ops->upload(be, at + (int64_t)i * EACH, p, EACH);
    }
    be->ops->download(be, p, at, (int64_t)N * EACH);
    int64_t wrong = 0;
    for (int i = 0; i < N; i++) {
        wrong += differ(p + (int64_t)i * EACH, EACH, i);
    }
    CHECK(wrong == 0);
    be->ops->host_release(be, p);
    be->ops->release(be, at);
}

typedef struct note {
    int number;
    int64_t n;
} note;
static int arrived;
static int64_t wrong_frames;

static void got(void *ctx, const real *at)
{
    const note *m = ctx;
    CHECK(m->number == arrived); /* in order */
    wrong_frames += differ(at, m->n, m->number);
    arrived++;
}

/* More than a device keeps on the way; the array is overwritten between. */
static void fetches(void)
{
    enum { ROUNDS = 24 };
    const int64_t most = 4 << 20;
    dreal *at = be->ops->alloc(be, most);
    real *p = MEMORY_NEW(real, most);
    arrived = 0;
    wrong_frames = 0;
    for (int i = 0; i < ROUNDS; i++) {
        note m = {i, i % 3 == 2 ? 1000 + i : most};
        number(p, m.n, i);
        be->ops->upload(be, at, p, m.n);
        be->ops->fetch(be, at, m.n, got, &m, sizeof m);
        be->ops->fill(be, at, -1, m.n);
        if (i % 5 == 4) {
            be->ops->sync(be);
        }
    }
    be->ops->fetched(be);
    CHECK(arrived == ROUNDS);
    CHECK(wrong_frames == 0);
    be->ops->fetched(be); /* none left */
    CHECK(arrived == ROUNDS);
    be->ops->release(be, at);
    memory_free(p);
}

int main(void)
{
    be = test_backend(2);
    test_case cases[] = {{"uploads", uploads}, {"many uploads", many_uploads}, {"fetches", fetches}};
    int code = test_run("copy", cases, sizeof cases / sizeof *cases);
    test_backend_close(be);
    return code;
}
