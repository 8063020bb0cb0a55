/* streams.cpp - streams, events, copies and graphs of cuda_runtime.h.
 *
 * Everything is done as late as may be: when the host waits for it (a stream, an event, the device); each question to an event does one piece of work.
 * So a result that is read too early, or a source that is written again too early, shows: a copy to the host spoils its place when it is queued, and a
 * copy from pinned memory reads it when it is done.  CHIASM_EMULATE_AT_ONCE: all is done as it is queued. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "emulate.h"

namespace
{
/* What an event has been told, and what of it has come. */
struct happening {
    int64_t recorded, done;
    double at;
    cudaStream_t stream; /* of the last record */
    bool captured;
};

struct piece {
    std::function<void()> work;
    void *to_host; /* spoiled as it is queued */
    size_t bytes;
    std::shared_ptr<happening> recorded, awaited;
    int64_t version;
    cudaStream_t by; /* the stream in which what is awaited was recorded */
};

std::set<cudaStream_t> streams;
std::set<cudaEvent_t> events;
int64_t ncopy, nwait;
cudaError_t last_error = cudaSuccess;

cudaStream_t alive(cudaStream_t s, const char *call)
{
    if (s && !streams.count(s)) {
        emulate_wrong("a stream that was destroyed, or never made", call);
    }
    return s;
}

cudaEvent_t alive(cudaEvent_t e, const char *call)
{
    if (!events.count(e)) {
        emulate_wrong("an event that was destroyed, or never made", call);
    }
    return e;
}

double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}
} // namespace

struct emulate_graph {
    std::vector<piece> work;
};
struct emulate_stream {
    emulate_graph *captured;
    std::deque<piece> queue;
};
struct emulate_event {
    std::shared_ptr<happening> now;
};

int64_t emulate_launches(void)
{
    return emulate_nlaunch;
}

int64_t emulate_copies(void)
{
    return ncopy;
}

int64_t emulate_waits(void)
{
    return nwait;
}

int64_t emulate_kernels(void)
{
    return emulate_nkernel;
}

/* CHIASM_EMULATE_COUNT: what the host asked of the device, on stderr when the process ends. */
static const struct tally {
    ~tally()
    {
        if (getenv("CHIASM_EMULATE_COUNT")) {
            fprintf(stderr, "emulated CUDA: %lld launches, %lld copies, %lld waits; %lld kernels\n", (long long)emulate_nlaunch, (long long)ncopy,
                    (long long)nwait, (long long)emulate_nkernel);
        }
    }
} tally_at_exit;

/* --- pieces of work ------------------------------------------------------------------------------------------------------------- */
static void do_first(cudaStream_t s)
{
    piece p = std::move(s->queue.front());
    s->queue.pop_front();
    while (p.awaited && p.awaited->done < p.version) {
        if (!streams.count(p.by) || p.by->queue.empty()) {
            emulate_wrong("a stream waits for an event that never comes", NULL);
        }
        do_first(p.by);
    }
    if (p.work) {
        emulate_let(1);
        p.work();
        emulate_let(0);
    }
    if (p.recorded) {
        p.recorded->done = p.version;
        p.recorded->at = now_ms();
    }
}

static void finish(cudaStream_t s)
{
    emulate_let(1); /* once for all */
    while (!s->queue.empty()) {
        do_first(s);
    }
    emulate_let(0);
}

void emulate_finish_all(void)
{
    for (cudaStream_t s : streams) {
        finish(s);
    }
}

static void queue(cudaStream_t s, piece p)
{
    static const bool at_once = getenv("CHIASM_EMULATE_AT_ONCE");
    if (s && s->captured) {
        s->captured->work.push_back(std::move(p));
        return;
    }
    if (p.to_host && emulate_is_pinned(p.to_host, p.bytes)) {
        memset(p.to_host, 0xFF, p.bytes);
    }
    if (!s) { /* the old default stream: of copies that wait */
        emulate_let(1);
        p.work();
        emulate_let(0);
        return;
    }
    s->queue.push_back(std::move(p));
    if (at_once) {
        finish(s);
    }
}

bool emulate_is_captured(cudaStream_t s)
{
    return s && s->captured;
}

void emulate_do(cudaStream_t s, const std::function<void()> &what)
{
    queue(alive(s, "a launch"), {what, NULL, 0, NULL, NULL, 0, NULL});
}

/* --- copies ----------------------------------------------------------------------------------------------------------------------- */
static bool overlap(const void *a, const void *b, size_t bytes)
{
    return (const char *)a < (const char *)b + bytes && (const char *)b < (const char *)a + bytes;
}

static void check_copy(const void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s)
{
    alive(s, "cudaMemcpyAsync");
    ncopy += !(s && s->captured);
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind != cudaMemcpyDefault && (emulate_in_arena(to) != to_device || emulate_in_arena(from) != from_device)) {
        emulate_wrong("a copy whose kind does not fit its addresses", NULL);
    }
    auto pageable = [=](const void *p) { return !emulate_in_arena(p) && !emulate_is_pinned(p, bytes); };
    if (s && s->captured && (pageable(to) || pageable(from))) {
        emulate_wrong("a copy of pageable memory is captured", NULL);
    }
    if (overlap(to, from, bytes)) {
        emulate_wrong("a copy whose source and place overlap", NULL);
    }
}

static void copy_now(void *to, const void *from, size_t bytes)
{
    emulate_look(to, bytes, "a copy");
    emulate_look(from, bytes, "a copy");
    memcpy(to, from, bytes);
}

/* Pageable memory is read before the call returns, and written before it returns. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s)
{
    if (bytes == 0) {
        return cudaSuccess;
    }
    check_copy(to, from, bytes, kind, s);
    bool to_host = !emulate_in_arena(to), from_host = !emulate_in_arena(from);
    const void *host = to_host && emulate_is_pinned(to, bytes) ? to : from_host && emulate_is_pinned(from, bytes) ? from : NULL;
    if (from_host && !emulate_is_pinned(from, bytes)) {
        std::shared_ptr<char[]> taken(new char[bytes]);
        memcpy(taken.get(), from, bytes);
        queue(s, {[=] { copy_now(to, taken.get(), bytes); }, NULL, 0, NULL, NULL, 0, NULL});
    } else {
        auto copy = [=] {
            if (host && !emulate_is_pinned(host, bytes)) {
                emulate_wrong("pinned memory was freed before it was copied", NULL);
            }
            copy_now(to, from, bytes);
        };
        queue(s, {copy, to_host ? to : NULL, bytes, NULL, NULL, 0, NULL});
    }
    if (to_host && s && !emulate_is_pinned(to, bytes)) {
        finish(s);
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    emulate_not_in_a_capture("cudaMemcpy");
    return cudaMemcpyAsync(to, from, bytes, kind, NULL);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t s)
{
    check_copy(to, from, width, kind, s);
    for (size_t i = 0; i < height; i++) {
        cudaMemcpyAsync((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width, kind, s);
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s)
{
    if (bytes > 0 && !emulate_in_arena(to)) {
        emulate_wrong("cudaMemsetAsync of host memory", NULL);
    }
    emulate_do(s, [=] {
        emulate_look(to, bytes, "cudaMemsetAsync");
        memset(to, value, bytes);
    });
    return cudaSuccess;
}

/* --- streams ----------------------------------------------------------------------------------------------------------------------- */
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new emulate_stream();
    streams.insert(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    if (!alive(s, "cudaStreamDestroy")->queue.empty()) {
        emulate_wrong("a stream is destroyed before its work is done", NULL);
    }
    streams.erase(s);
    delete s;
    if (streams.empty()) {
        if (!events.empty()) {
            emulate_wrong("events are left when the last stream is destroyed", NULL);
        }
        emulate_left();
    }
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    emulate_not_in_a_capture("cudaStreamSynchronize");
    nwait++;
    finish(alive(s, "cudaStreamSynchronize"));
    emulate_look_at_all("some kernel before cudaStreamSynchronize");
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    emulate_not_in_a_capture("cudaDeviceSynchronize");
    nwait++;
    emulate_finish_all();
    emulate_look_at_all("some kernel before cudaDeviceSynchronize");
    return cudaSuccess;
}

/* --- events -------------------------------------------------------------------------------------------------------------------------- */
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new emulate_event();
    (*e)->now = std::make_shared<happening>();
    events.insert(*e);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    events.erase(alive(e, "cudaEventDestroy"));
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    happening &now = *alive(e, "cudaEventRecord")->now;
    now.captured = alive(s, "cudaEventRecord")->captured != NULL;
    if (!now.captured) {
        now.stream = s;
        queue(s, {NULL, NULL, 0, e->now, NULL, ++now.recorded, NULL});
    }
    return cudaSuccess;
}

/* Of an event within a capture the order in the graph is what counts; none may lead into a capture or out of it. */
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    const happening &now = *alive(e, "cudaStreamWaitEvent")->now;
    if (now.captured != (alive(s, "cudaStreamWaitEvent")->captured != NULL)) {
        emulate_wrong("a wait that leads into a capture, or out of it", NULL);
    }
    if (!now.captured && now.done < now.recorded) {
        queue(s, {NULL, NULL, 0, NULL, e->now, now.recorded, now.stream});
    }
    return cudaSuccess;
}

static happening &asked(cudaEvent_t e, const char *call)
{
    emulate_not_in_a_capture(call);
    happening &now = *alive(e, call)->now;
    if (now.captured) {
        emulate_wrong("an event of a capture is asked for", call);
    }
    return now;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    happening &now = asked(e, "cudaEventSynchronize");
    nwait++;
    while (now.done < now.recorded) {
        do_first(alive(now.stream, "cudaEventSynchronize"));
    }
    return cudaSuccess;
}

/* Each question finds one more piece done. */
cudaError_t cudaEventQuery(cudaEvent_t e)
{
    happening &now = asked(e, "cudaEventQuery");
    if (now.done < now.recorded) {
        do_first(alive(now.stream, "cudaEventQuery"));
    }
    return now.done < now.recorded ? last_error = cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    *ms = (float)(asked(to, "cudaEventElapsedTime").at - asked(from, "cudaEventElapsedTime").at);
    return cudaSuccess;
}

/* --- graphs --------------------------------------------------------------------------------------------------------------------------- */
cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode)
{
    if (alive(s, "cudaStreamBeginCapture")->captured) {
        emulate_wrong("a capture within a capture", NULL);
    }
    s->captured = new emulate_graph();
    emulate_capturing++;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    if (!alive(s, "cudaStreamEndCapture")->captured) {
        emulate_wrong("the end of no capture", NULL);
    }
    *g = s->captured;
    s->captured = NULL;
    emulate_capturing--;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long)
{
    *e = new emulate_graph(*g);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s)
{
    emulate_nlaunch++;
    for (const piece &p : e->work) {
        queue(alive(s, "cudaGraphLaunch"), p);
    }
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e)
{
    delete e;
    return cudaSuccess;
}

/* --- errors --------------------------------------------------------------------------------------------------------------------------- */
/* CHIASM_EMULATE_FAULT=n: the n-th launch is the last that works. */
cudaError_t cudaGetLastError(void)
{
    const char *text = getenv("CHIASM_EMULATE_FAULT");
    static const long fault = text ? atol(text) : -1;
    cudaError_t e = fault >= 0 && emulate_nlaunch > fault ? cudaErrorIllegalAddress : last_error;
    last_error = cudaSuccess;
    return e;
}
