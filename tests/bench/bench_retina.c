/* bench_retina.c - cost of the full retina (both OPL filters, gain control, On and Off cells) per pixel and step, over field sizes and ranks.
 *
 *     bench_retina [NX NY STEPS CELLS_PER_DEG THREADS [CHUNK [TILES]]]   one case; none: the table.  TILES: along each side; 0, and CHUNK 0: chosen
 *     mpirun -n 2 bench_retina 1024 1024 64 0 1
 *     bench_retina --device cuda 2048 2048 256 3.4527 1                  1,000,000 cells
 *     bench_retina --model FILE 256 256 64 0 1                           the section `model` of that file instead of this retina
 *
 * The floor beside each figure: bytes that must cross the memory bus (arrays between groups of stages, read and written once) over the
 * bandwidth of a plain copy measured in the same run on the same processor.  Time is the median of whole runs of STEPS (whole chunks), five on a
 * device, one on a CPU, after chunks enough that plans are made and graphs captured. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "model/model.h"

/* The chain of VirtualRetina with gain control; cells per degree 0: maps only. */
static const char stages[] =
    "model: {stages: [\n"
    " {name: receptor_blur, type: blur, input: stimulus, sigma: 0.05 deg},\n"
    " {name: receptor_lowpass, type: lowpass, input: receptor_blur, tau: 10 ms, gain: 10},\n"
    " {name: receptor, type: highpass, input: receptor_lowpass, tau: 100 ms, weight: 0.8, delay: 1},\n"
    " {name: surround_blur, type: blur, input: receptor, sigma: 0.15 deg, delay: 1},\n"
    " {name: surround, type: lowpass, input: surround_blur, tau: 4 ms},\n"
    " {name: opl, type: sum, inputs: [receptor, surround], weights: [1, -1], rest: 0},\n"
    " {name: bipolar, type: gain_control, input: opl, gain: 150 Hz, leak: 5 Hz, feedback: 100 Hz, sigma: 0.2 deg, tau: 10 ms, delay: 1},\n"
    " {name: on_transient, type: highpass, input: bipolar, tau: 20 ms, weight: 0.7, delay: 1},\n"
    " {name: on, type: rectify, input: on_transient, sign: 1, value: 37 Hz, slope: 100 Hz, delay: 1},\n"
    " {name: off_transient, type: highpass, input: bipolar, tau: 20 ms, weight: 0.7, delay: 1},\n"
    " {name: off, type: rectify, input: off_transient, sign: -1, value: 37 Hz, slope: 100 Hz, delay: 1}%s\n]}\n";

static const char cells[] =
    ",\n {name: on_cells, type: cells, input: on, density: %g /deg},\n {name: off_cells, type: cells, input: off, density: %g /deg},\n"
    " {name: on_spikes, type: lif, input: on_cells, noise: 0.1, delay: 1}, {name: off_spikes, type: lif, input: off_cells, noise: 0.1, delay: 1}";

static const char *device = "cpu", *model_file;

enum { WARM = 3, TIMES = 5 }; /* warm: a graph is captured when its work comes a second time (gpu_graph.c) */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *s, int n)
{
    qsort(s, (size_t)n, sizeof *s, ascending);
    return s[n / 2];
}

static double copy_bandwidth(void)
{
    const int64_t n = strcmp(device, "cpu") == 0 ? 16 << 20 : 256 << 20;
    backend *be = backend_open(device, 1);
    dreal *a = be->ops->alloc(be, n), *b = be->ops->alloc(be, n);
    be->ops->fill(be, a, 1, n);
    double s[TIMES];
    for (int i = -WARM; i < TIMES; i++) {
        be->ops->sync(be);
        double start = log_clock();
        be->ops->move(be, b, a, n);
        be->ops->sync(be);
        s[i < 0 ? 0 : i] = log_clock() - start;
    }
    be->ops->release(be, a);
    be->ops->release(be, b);
    backend_close(be);
    return 2.0 * (double)n * sizeof(real) / median(s, TIMES);
}

/* A moving grating, made once for a chunk: the stimulus costs nothing here. */
static void show(model *m, backend *be)
{
    view v = model_stimulus(m);
    int64_t n = model_chunk_steps(m) * v.frame_stride;
    real *frames = MEMORY_NEW(real, n);
    for (int l = 0; l < v.nleaf; l++) {
        for (int t = 0; t < model_chunk_steps(m); t++) {
            for (int y = 0; y < v.tile[l].ny; y++) {
                real *row = frames + t * v.frame_stride + y * v.row_stride;
                for (int x = 0; x < v.tile[l].nx; x++) {
                    row[x] = (real)(0.5 + 0.5 * sin(0.3 * (v.tile[l].x0 + x) + 0.1 * (v.tile[l].y0 + y) + 0.05 * t));
                }
            }
        }
        be->ops->upload(be, v.at + l * v.leaf_stride, frames,
                        n - v.frame_stride + (v.tile[l].ny - 1) * v.row_stride + v.tile[l].nx);
    }
    memory_free(frames);
}

typedef struct outcome {
    double seconds;
    int64_t ncell, nspike;
    int nt, nleaf, nstep;
} outcome;

static int chunk, tiles;

static void model_text(double density, char *text, size_t room)
{
    char cell_text[512] = "";
    if (density > 0) {
        snprintf(cell_text, sizeof cell_text, cells, density, density);
    }
    snprintf(text, room, stages, cell_text);
    if (model_file) {
        FILE *f = fopen(model_file, "r");
        size_t n = f ? fread(text, 1, room - 1, f) : 0;
        text[n] = '\0';
        if (n == 0 || n == room - 1) {
            fprintf(stderr, "bench_retina: %s is not there, empty or too long\n", model_file);
            exit(EXIT_FAILURE);
        }
        fclose(f);
    }
}

/* Seconds of nstep steps from *step on, whole chunks; o->nspike: of these. */
static double once(model *m, int nstep, int64_t *step, outcome *o)
{
    comm_barrier();
    double start = log_clock();
    o->nspike = 0;
    for (int done = 0; done < nstep; done += o->nt, *step += o->nt) {
        model_forward(m, *step, o->nt);
        for (int i = 1; i < model_noutput(m); i++) {
            for (int l = 0; model_output_at(m, i).spikes && l < model_nleaf(m); l++) {
                o->nspike += model_spikes(m, i, l)->n;
            }
        }
    }
    comm_barrier();
    return log_clock() - start;
}

static outcome run(int nx, int ny, int nstep, double density, int threads)
{
    static char text[1 << 16];
    model_text(density, text, sizeof text);
    input *in = input_from_text(text, "bench", NULL, 0);
    model_setup setup = {.in = in,
                         .step_s = 0.001,
                         .pixels_per_deg = 10,
                         .seed = 1,
                         .ny = ny,
                         .nx = nx,
                         .full_ny = ny,
                         .full_nx = nx,
                         .ntile_y = tiles,
                         .ntile_x = tiles,
                         .stimulus_rest = 0.5,
                         .chunk_steps = chunk,
                         .on_gpu = strcmp(backend_choose(device), "cuda") == 0,
                         .rank = comm_rank(),
                         .nrank = comm_size()};
    model *m = model_create(&setup);
    if (!m) {
        input_print_problems(in);
        exit(EXIT_FAILURE);
    }
    backend *be = backend_open(device, threads);
    model_attach(m, be);
    show(m, be);
    outcome o = {.nt = model_chunk_steps(m), .nleaf = grid_nleaf(model_grid(m))};
    o.nstep = (nstep + o.nt - 1) / o.nt * o.nt;
    int64_t step = 0;
    double s[TIMES];
    int times = strcmp(device, "cpu") == 0 ? 1 : TIMES;
    once(m, WARM * o.nt, &step, &o); /* pages, plans, graphs */
    for (int i = 0; i < times; i++) {
        s[i] = once(m, o.nstep, &step, &o);
    }
    o.seconds = median(s, times);
    o.nspike = comm_sum_int(o.nspike);
    for (int i = 1; i < model_noutput(m); i++) {
        o.ncell += model_output_at(m, i).spikes ? model_output_at(m, i).cells->ncell : 0;
    }
    model_destroy(m);
    backend_close(be);
    input_destroy(in);
    return o;
}

static void line(int nx, int ny, int nstep, double density, int threads, double bandwidth)
{
    outcome o = run(nx, ny, nstep, density, threads);
    double pixel_steps = (double)nx * ny * o.nstep, ns = o.seconds / pixel_steps * 1e9;
    /* between groups: stimulus, receptor, OPL, V written and read once, V and A again each step of the gain control */
    double bytes = (2 * 4 + 5) * sizeof(real), floor_ns = bytes / bandwidth * 1e9;
    log_say(LOG_RESULT, "%5d x %-5d %6d %8lld %9.6f s %8.2f ns %8.2f ns %7.1f %8.4g   %3d x %d, %lld spikes", nx, ny, o.nstep, (long long)o.ncell,
            o.seconds, ns, floor_ns, ns / floor_ns, o.nstep * 1e-3 / o.seconds, o.nleaf, o.nt, (long long)o.nspike);
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    log_start(comm_rank(), LOG_RESULT);
    for (; argc > 2 && strncmp(argv[1], "--", 2) == 0; argc -= 2, argv += 2) {
        *(strcmp(argv[1], "--model") == 0 ? &model_file : &device) = argv[2];
    }
    double bandwidth = copy_bandwidth();
    log_say(LOG_RESULT, "retina with gain control, On and Off; %s, %d rank(s); copy bandwidth %.1f GB/s on %s", REAL_NAME, comm_size(),
            bandwidth * 1e-9, device);
    log_say(LOG_RESULT, "%-13s %6s %8s %11s %11s %11s %7s %8s   %s", "field", "steps", "cells", "time", "/pixel/step", "floor", "ratio", "x real",
            "leaves x chunk");
    chunk = argc >= 7 ? atoi(argv[6]) : 0;
    tiles = argc >= 8 ? atoi(argv[7]) : 0;
    if (argc >= 6) {
        line(atoi(argv[1]), atoi(argv[2]), atoi(argv[3]), atof(argv[4]), atoi(argv[5]), bandwidth);
    } else {
        line(100, 100, 500, 8.3, 1, bandwidth);   /* 13,778 cells */
        line(256, 256, 1000, 8.75, 2, bandwidth); /* 100,352 cells, two threads */
        for (int n = 128; n <= 2048; n *= 2) {
            line(n, n, n <= 512 ? 256 : 64, 0, 1, bandwidth);
        }
    }
    comm_finish();
    return 0;
}
