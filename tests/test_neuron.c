/* test_neuron.c - point neurons and sensors: values and derivatives of every kind against a plain loop over dual numbers, and Taylor's remainder. */
#include <float.h>

#include "base/memory.h"
#include "device.h"
#include "neuron_plain.h"
#include "stages/neuron.h"
#include "test.h"

enum { NT = 14, NY = 3, NX = 19, NCHAN = 2, PAD_Y = 4, PAD_X = 20, HALO = 1, ROW = 24, MOST_STATE = NEURON_MOST_STATE, CELLS = NCHAN * NY * NX };
static const bool exact = sizeof(real) == sizeof(double);

/* --- what is tried ------------------------------------------------------------------------------------------------------------ */
typedef struct trial {
    const char *name;
    bool smooth;
    double x_mean, x_size, state[MOST_STATE], state_size[MOST_STATE];
    neuron_desc d;
} trial;

#define EULER(kind_, n, dt) .kind = kind_, .nsub = n, .sub_dt = (real)(dt), .random.seed = 5
#define IZHIKEVICH          .x_mean = 12, .x_size = 9, .state = {-60, -13}, .state_size = {8, 2}
#define IZHIKEVICH_DESC(form_, kind_)                                                                                                                \
    .d = {EULER(NEURON_IZHIKEVICH, 2, 0.5), .form = form_, .surrogate = kind_, .width = 12, .par = {0.02, 0.2, -65, 6, 30, 5, 140}}
#define LIF .x_mean = 260, .x_size = 250, .state = {0.4, 0.6}, .state_size = {0.3, 0.9}
#define LIF_DESC(form_, kind_, noise)                                                                                                                \
    .d = {EULER(NEURON_LIF_EULER, 0, 0.001), .form = form_, .surrogate = kind_, .width = 0.3, .par = {50, noise, 1, 0.003, 0.001, 1000}}
static const trial trials[] = {
    {"FitzHugh-Nagumo", true, 0.5, 0.8, {0.3, 0.1}, {1, 0.5}, {EULER(NEURON_FITZHUGH_NAGUMO, 10, 0.1), .par = {0.7, 0.8, 0.08}}},
    {"Hodgkin-Huxley",
     true,
     8,
     6,
     {12, 0.4, 0.2, 0.5},
     {14, 0.1, 0.1, 0.1},
     {EULER(NEURON_HODGKIN_HUXLEY, 20, 0.05), .par = {36, 120, 0.3, 1, -12, 115, 10.613}}},
    {"cone",
     true,
     0.5,
     0.5,
     {30, 93, 0.9, 33},
     {9, 3, 0.1, 2},
     {EULER(NEURON_PHOTORECEPTOR, 2, 0.004), .par = {22, 22, 2000, 9, 0.01, 3, 1, 4, 0.5, 10, 35}}},
    {"rod",
     true,
     0.01,
     0.01,
     {1, 0.4, 0.9, 15},
     {0.5, 0.1, 0.1, 2},
     {EULER(NEURON_PHOTORECEPTOR, 1, 0.008), .par = {7.07, 7.07, 2.53, 25, 0.01, 3, 1, 4, 0.5, 10, 15.5}}},
    {"kinetics", true, 0.6, 0.5, {0.4, 0.2, 0.2, 0.2}, {0.1, 0.1, 0.1, 0.1}, {EULER(NEURON_KINETICS, 3, 0.003), .par = {40, 50, 80, 4, 4}}},
    {"Izhikevich, spikes", false, IZHIKEVICH, IZHIKEVICH_DESC(0, SURROGATE_FAST_SIGMOID)},
    {"Izhikevich, all", false, IZHIKEVICH, IZHIKEVICH_DESC(3, SURROGATE_TRIANGLE)},
    {"Izhikevich, no surrogate", false, IZHIKEVICH, IZHIKEVICH_DESC(3, SURROGATE_NONE)},
    {"leaky", false, LIF, LIF_DESC(LEAKY, SURROGATE_EXPONENTIAL, 0)},
    {"refractory", false, LIF, LIF_DESC(REFRACTORY, SURROGATE_FAST_SIGMOID, 0.2)},
    {"ganglion", false, LIF, LIF_DESC(GANGLION, SURROGATE_TRIANGLE, 0.2)},
    {"events", false, 0, 0.4, {0}, {0.1}, {EULER(NEURON_EVENT, 0, 0), .surrogate = SURROGATE_FAST_SIGMOID, .width = 0.1, .par = {0.2}}},
    {"log events",
     false,
     0.6,
     0.5,
     {0.5},
     {0.1},
     {EULER(NEURON_EVENT, 0, 0), .form = 1, .surrogate = SURROGATE_EXPONENTIAL, .width = 0.2, .par = {1.3}}},
};
enum { NTRIAL = sizeof trials / sizeof trials[0] };

/* --- arrays of one leaf ----------------------------------------------------------------------------------------------------------- */
static const grid_tile tile = {0, 2, 5, NY, NX}; /* leaf 0, at pixel (2, 5) of the field */
static backend *be;

static view new_view(int nchan)
{
    view v = {.tile = &tile,
              .nleaf = 1,
              .nchan = nchan,
              .halo = HALO,
              .row_stride = ROW,
              .chan_stride = (int64_t)ROW * (PAD_Y + 2 * HALO),
              .pad_ny = PAD_Y,
              .pad_nx = PAD_X};
    v.frame_stride = v.chan_stride * nchan;
    v.leaf_stride = v.frame_stride * NT;
    v.at = be->ops->alloc(be, v.leaf_stride) + HALO * ROW + HALO;
    return v;
}

static void free_view(view v)
{
    be->ops->release(be, v.at - (HALO * ROW + HALO));
}

/* In memory of the host that test_take gave. */
static void leave(view v)
{
    memory_free(host(v.at));
}

static real *at(view v, int t, int c, int i) /* i: pixel of the tile */
{
    return host(v.at) + t * v.frame_stride + c * v.chan_stride + i / NX * v.row_stride + i % NX;
}

static real *state_at(real *s, int k, int c, int i)
{
    return s + ((int64_t)(k * NCHAN + c) * PAD_Y + i / NX) * PAD_X + i % NX;
}
enum { STATE_REALS = MOST_STATE * NCHAN * PAD_Y * PAD_X };

/* A point at which a loss is looked at, and a direction to go. */
typedef struct place {
    double x[NT][CELLS], s[MOST_STATE][CELLS], p[NEURON_MOST_PAR];
} place;

typedef struct answers { /* what comes out, or its weights in the loss */
    double y[NEURON_MOST_OUT][NT][CELLS], s[MOST_STATE][CELLS];
} answers;

static place *middle(const trial *t)
{
    uint64_t seed = 11;
    place *m = MEMORY_NEW(place, 1);
    for (int i = 0; i < CELLS; i++) {
        for (int n = 0; n < NT; n++) {
            m->x[n][i] = (double)(real)(t->x_mean + t->x_size * test_random(&seed));
        }
        for (int k = 0; k < MOST_STATE; k++) {
            m->s[k][i] = (double)(real)(t->state[k] + t->state_size[k] * test_random(&seed));
        }
    }
    for (int k = 0; k < NEURON_MOST_PAR; k++) {
        m->p[k] = (double)t->d.par[k];
    }
    return m;
}

static place *direction(const trial *t)
{
    uint64_t seed = 12;
    neuron_shape shape = neuron_look(&t->d);
    place *m = MEMORY_NEW(place, 1);
    for (int i = 0; i < CELLS; i++) {
        for (int n = 0; n < NT; n++) {
            m->x[n][i] = t->x_size * test_random(&seed);
        }
        for (int k = 0; k < shape.nstate && !(t->d.kind == NEURON_LIF_EULER && k == 1); k++) { /* the refractory time is counted in steps */
            m->s[k][i] = t->state_size[k] * test_random(&seed);
        }
    }
    for (int k = 0; k < shape.npar; k++) {
        m->p[k] = (double)t->d.par[k] * test_random(&seed);
    }
    return m;
}

static answers *weights(void)
{
    uint64_t seed = 13;
    answers *w = MEMORY_NEW(answers, 1);
    double *all = &w->y[0][0][0];
    for (size_t i = 0; i < sizeof *w / sizeof(double); i++) {
        all[i] = (double)(real)test_random(&seed);
    }
    return w;
}

/* All cells by the plain loop; the derivative along dir beside the values. */
static double plain(const trial *t, const place *m, const place *dir, const answers *w, answers *out, double *size)
{
    neuron_shape shape = neuron_look(&t->d);
    double slope = 0;
    dual p[NEURON_MOST_PAR];
    for (int k = 0; k < NEURON_MOST_PAR; k++) {
        p[k] = (dual){m->p[k], dir->p[k]};
    }
    *size = 0;
    for (int i = 0; i < CELLS; i++) {
        int c = i / (NY * NX), pixel = i % (NY * NX);
        uint64_t who = (uint64_t)((tile.y0 + pixel / NX) * 100 + tile.x0 + pixel % NX) + ((uint64_t)c << 40);
        dual s[MOST_STATE], y[NEURON_MOST_OUT] = {{0, 0}};
        for (int k = 0; k < MOST_STATE; k++) {
            s[k] = (dual){m->s[k][i], dir->s[k][i]};
        }
        for (int n = 0; n < NT; n++) {
            plain_step(&t->d, p, who, n, (dual){m->x[n][i], dir->x[n][i]}, s, y);
            for (int k = 0; k < shape.nout; k++) {
                out->y[k][n][i] = y[k].v;
                slope += w->y[k][n][i] * y[k].d;
                *size += fabs(w->y[k][n][i] * y[k].d);
            }
        }
        for (int k = 0; k < shape.nstate; k++) {
            out->s[k][i] = s[k].v;
            slope += w->s[k][i] * s[k].d;
            *size += fabs(w->s[k][i] * s[k].d);
        }
    }
    return slope;
}

typedef struct arrays {
    view x, y, gx, gy;
    dreal *state, *g_state, *tape;
} arrays;

static arrays arrays_create(const trial *t)
{
    int nout = neuron_look(&t->d).nout;
    return (arrays){new_view(NCHAN),
                    new_view(nout * NCHAN),
                    new_view(NCHAN),
                    new_view(nout * NCHAN),
                    be->ops->alloc(be, STATE_REALS),
                    be->ops->alloc(be, STATE_REALS),
                    be->ops->alloc(be, (int64_t)STATE_REALS * NT)};
}

static void arrays_free(arrays *a)
{
    free_view(a->x);
    free_view(a->y);
    free_view(a->gx);
    free_view(a->gy);
    be->ops->release(be, a->state);
    be->ops->release(be, a->g_state);
    be->ops->release(be, a->tape);
}

static neuron_desc at_place(const trial *t, const place *m, const place *dir, double h)
{
    neuron_desc d = t->d;
    d.field_nx = 100;
    for (int k = 0; k < NEURON_MOST_PAR; k++) {
        d.par[k] = (real)(m->p[k] + h * dir->p[k]);
    }
    return d;
}

/* The op at m + h dir in two chunks, and the loss. */
static double forward(const trial *t, const place *m, const place *dir, double h, const answers *w, const arrays *a, answers *out)
{
    enum { CUT = 5 };
    neuron_desc d = at_place(t, m, dir, h);
    neuron_shape shape = neuron_look(&d);
    view x = test_take(be, a->x, NT);
    real *state = test_get(be, a->state, STATE_REALS);
    for (int i = 0; i < CELLS; i++) {
        int c = i / (NY * NX), pixel = i % (NY * NX);
        for (int n = 0; n < NT; n++) {
            *at(x, n, c, pixel) = (real)(m->x[n][i] + h * dir->x[n][i]);
        }
        for (int k = 0; k < shape.nstate; k++) {
            *state_at(state, k, c, pixel) = (real)(m->s[k][i] + h * dir->s[k][i]);
        }
    }
    test_give(be, a->x, NT, x);
    be->ops->upload(be, a->state, state, STATE_REALS);
    int64_t step_tape = (int64_t)shape.nstate * NCHAN * PAD_Y * PAD_X;
    be->ops->neuron(be, &d, NULL, 0, CUT, a->x, a->state, 0, a->y, a->tape, 0, NULL);
    be->ops->neuron(be, &d, NULL, CUT, NT - CUT, view_at_frame(a->x, CUT), a->state, 0, view_at_frame(a->y, CUT), a->tape + CUT * step_tape, 0, NULL);
    view y = test_take(be, a->y, NT);
    be->ops->download(be, state, a->state, STATE_REALS);
    double loss = 0;
    for (int i = 0; i < CELLS; i++) {
        int c = i / (NY * NX), pixel = i % (NY * NX);
        for (int k = 0; k < shape.nout; k++) {
            for (int n = 0; n < NT; n++) {
                out->y[k][n][i] = (double)*at(y, n, k * NCHAN + c, pixel);
                loss += w->y[k][n][i] * out->y[k][n][i];
            }
        }
        for (int k = 0; k < shape.nstate; k++) {
            out->s[k][i] = (double)*state_at(state, k, c, pixel);
            loss += w->s[k][i] * out->s[k][i];
        }
    }
    leave(x);
    leave(y);
    memory_free(state);
    return loss;
}

/* <dir, gradient at m>, in two other chunks, from the tape that forward left. */
static double backward(const trial *t, const place *m, const place *dir, const answers *w, const arrays *a)
{
    enum { CUT = 8 };
    neuron_desc d = at_place(t, m, dir, 0);
    neuron_shape shape = neuron_look(&d);
    double g_par[NEURON_MOST_PAR] = {0}, slope = 0;
    view gx = test_take(be, a->gx, NT), gy = test_take(be, a->gy, NT);
    real *g_state = test_get(be, a->g_state, STATE_REALS);
    for (int i = 0; i < CELLS; i++) {
        int c = i / (NY * NX), pixel = i % (NY * NX);
        for (int n = 0; n < NT; n++) {
            *at(gx, n, c, pixel) = 1; /* to be added to */
            for (int k = 0; k < shape.nout; k++) {
                *at(gy, n, k * NCHAN + c, pixel) = (real)w->y[k][n][i];
            }
        }
        for (int k = 0; k < shape.nstate; k++) {
            *state_at(g_state, k, c, pixel) = (real)w->s[k][i];
        }
    }
    test_give(be, a->gx, NT, gx);
    test_give(be, a->gy, NT, gy);
    be->ops->upload(be, a->g_state, g_state, STATE_REALS);
    int64_t step_tape = (int64_t)shape.nstate * NCHAN * PAD_Y * PAD_X;
    be->ops->neuron_back(be, &d, NULL, CUT, NT - CUT, view_at_frame(a->x, CUT), a->tape + CUT * step_tape, 0, view_at_frame(a->gy, CUT), a->g_state,
                         0, view_at_frame(a->gx, CUT), g_par, 0);
    be->ops->neuron_back(be, &d, NULL, 0, CUT, a->x, a->tape, 0, a->gy, a->g_state, 0, a->gx, g_par, 0);
    be->ops->sync(be);
    leave(gx);
    gx = test_take(be, a->gx, NT);
    be->ops->download(be, g_state, a->g_state, STATE_REALS);
    for (int i = 0; i < CELLS; i++) {
        int c = i / (NY * NX), pixel = i % (NY * NX);
        for (int n = 0; n < NT; n++) {
            slope += ((double)*at(gx, n, c, pixel) - 1) * dir->x[n][i];
        }
        for (int k = 0; k < shape.nstate; k++) {
            slope += (double)*state_at(g_state, k, c, pixel) * dir->s[k][i];
        }
    }
    for (int k = 0; k < shape.npar; k++) {
        slope += g_par[k] * dir->p[k];
    }
    leave(gx);
    leave(gy);
    memory_free(g_state);
    return slope;
}

/* A direction that changes one thing only: which 0: input, 1: state, 2 + k: parameter k; -1: all. */
static place *only(const trial *t, int which)
{
    place *m = direction(t);
    neuron_shape shape = neuron_look(&t->d);
    for (int i = 0; i < CELLS && which >= 0; i++) {
        for (int n = 0; n < NT && which != 0; n++) {
            m->x[n][i] = 0;
        }
        for (int k = 0; k < shape.nstate && which != 1; k++) {
            m->s[k][i] = 0;
        }
    }
    for (int k = 0; k < shape.npar && which >= 0; k++) {
        m->p[k] = which == 2 + k ? m->p[k] : 0;
    }
    return m;
}

/* Spikes of the float program may differ where rounding decides; its smooth kinds are near the plain loop in double. */
static void each_kind_is_the_plain_loop(void)
{
    for (int n = 0; n < NTRIAL; n++) {
        const trial *t = &trials[n];
        if (!exact && !t->smooth) {
            continue;
        }
        neuron_shape shape = neuron_look(&t->d);
        arrays a = arrays_create(t);
        answers *w = weights(), *ours = MEMORY_NEW(answers, 1), *theirs = MEMORY_NEW(answers, 1);
        place *m = middle(t);
        int events = 0;
        for (int which = -1; which < 2 + shape.npar; which++) {
            place *dir = only(t, which);
            double size, slope = plain(t, m, dir, w, theirs, &size);
            forward(t, m, dir, 0, w, &a, ours);
            double back = backward(t, m, dir, w, &a);
            if (fabs(back - slope) > (exact ? 1e-12 : 2e-3) * size) {
                printf("\n    %s, %d", t->name, which);
            }
            CHECK_NEAR(back, slope, (exact ? 1e-12 : 2e-3) * size,
                       "<w, J dir> by dual numbers; rounding, in float of membranes of up to 100 mV that race");
            CHECK(size > 0 || t->d.surrogate == SURROGATE_NONE || (t->d.par[1] == 0 && which == 3));
            memory_free(dir);
        }
        for (int k = 0; k < shape.nout; k++) {
            for (int i = 0; i < NT * CELLS; i++) {
                double x = (&ours->y[k][0][0])[i], y = (&theirs->y[k][0][0])[i];
                if (!(fabs(x - y) <= (exact ? 1e-11 : 1e-3) * fmax(1, fabs(y)))) {
                    printf("\n    %s, output %d, %d", t->name, k, i);
                }
                CHECK_NEAR(x, y, (exact ? 1e-11 : 1e-3) * fmax(1, fabs(y)), "rounding, which an action potential makes grow");
                events += !t->smooth && k == 0 && x != 0;
            }
        }
        CHECK(t->smooth || (events > 20 && events < NT * CELLS - 20)); /* there is something to see */
        memory_free(m);
        memory_free(w);
        memory_free(ours);
        memory_free(theirs);
        arrays_free(&a);
    }
}

/* |L(m + h dir) - L(m) - h <g, dir>| falls as h^2. */
static void smooth_kinds_have_their_derivatives(void)
{
    for (int n = 0; n < NTRIAL && exact; n++) {
        const trial *t = &trials[n];
        if (!t->smooth) {
            continue;
        }
        arrays a = arrays_create(t);
        answers *w = weights(), *out = MEMORY_NEW(answers, 1);
        place *m = middle(t);
        for (int which = -1; which < 2 + neuron_look(&t->d).npar; which++) {
            place *dir = only(t, which);
            double at_m = forward(t, m, dir, 0, w, &a, out), slope = backward(t, m, dir, w, &a), rest[2];
            bool linear = t->d.kind == NEURON_PHOTORECEPTOR ? which == 2 + 4 : t->d.kind == NEURON_KINETICS && which == 1; /* nothing is left */
            for (double h = t->d.kind == NEURON_HODGKIN_HUXLEY ? 1e-5 : 1e-3; h < 1; h *= 100) {
                for (int k = 0; k < 2; k++) {
                    rest[k] = fabs(forward(t, m, dir, h / (1 << k), w, &a, out) - at_m - h / (1 << k) * slope);
                }
                if (rest[0] > 1e-11 * fabs(at_m)) { /* more than rounding */
                    break;
                }
            }
            double order = log2(rest[0] / rest[1]);
            if (linear ? rest[0] > 1e-11 * fabs(at_m) : !(order > 1.9 && order < 2.1)) {
                printf("\n    %s, %d: rests %g %g of %g, order %.3f", t->name, which, rest[0], rest[1], at_m, order);
            }
            CHECK(linear ? rest[0] <= 1e-11 * fabs(at_m) : order > 1.9 && order < 2.1);
            memory_free(dir);
        }
        memory_free(m);
        memory_free(w);
        memory_free(out);
        arrays_free(&a);
    }
}

/* alpha_n and alpha_m are 0/0 there; their values are between those beside. */
static void hodgkin_huxley_is_finite(void)
{
    static const double v0[] = {10, 25};
    for (int k = 0; k < 2; k++) {
        double y[3];
        for (int side = -1; side <= 1; side++) {
            trial t = trials[1];
            t.d.nsub = 1;
            memset(t.state_size, 0, sizeof t.state_size);
            t.x_size = 0;
            t.state[0] = v0[k] + 0.01 * side;
            arrays a = arrays_create(&t);
            answers *w = weights(), *out = MEMORY_NEW(answers, 1);
            place *m = middle(&t), *dir = direction(&t);
            forward(&t, m, dir, 0, w, &a, out);
            y[side + 1] = out->s[1 + k][0];
            CHECK(isfinite(backward(&t, m, dir, w, &a)));
            memory_free(m);
            memory_free(dir);
            memory_free(w);
            memory_free(out);
            arrays_free(&a);
        }
        CHECK_NEAR(y[1], (y[0] + y[2]) / 2, exact ? 1e-6 : 1e-5, "curvature of a gate over 0.02 mV");
    }
}

/* --- starts that follow from parameters and rest values ---------------------------------------------------------------------------------- */
static double start_loss(const stage_type *t, neuron *own, double rest_in, const double w[])
{
    double rest[2] = {0, 0}, first[MOST_STATE] = {0};
    t->start(own, 0, &rest_in, rest, first);
    double loss = w[MOST_STATE] * rest[0];
    for (int k = 0; k < MOST_STATE; k++) {
        loss += w[k] * first[k];
    }
    return loss;
}

static void starts_are_steady_and_derived(void)
{
    static const struct {
        const char *type;
        int trial;
        double rest;
    } of[] = {{"photoreceptor", 2, 0.7}, {"photoreceptor", 3, 0.02}, {"kinetics", 4, 0.4}, {"izhikevich", 5, 0}};
    for (int n = 0; n < 4; n++) {
        neuron_desc d = trials[of[n].trial].d;
        d.form = of[n].trial == 5 ? 1 : 0; /* of izhikevich: v is the output */
        neuron own = {.of = &d};
        neuron_shape shape = neuron_look(&d);
        const stage_type *t = stage_find(of[n].type);
        double value[NEURON_MOST_PAR], x = of[n].rest, first[MOST_STATE] = {0}, rest[2] = {0, 0};
        for (int k = 0; k < shape.npar; k++) {
            value[k] = (double)d.par[k];
        }
        t->start(&own, 0, &x, rest, first);
        dual s[MOST_STATE], p[NEURON_MOST_PAR], y[NEURON_MOST_OUT] = {{0, 0}};
        for (int k = 0; k < MOST_STATE; k++) {
            s[k] = num(first[k]);
        }
        for (int k = 0; k < shape.npar; k++) {
            p[k] = num(value[k]);
        }
        if (of[n].trial != 5) { /* a neuron is not at rest there */
            plain_step(&d, p, 0, 0, num(x), s, y);
            CHECK_NEAR(y[0].v, rest[0], 1e-12 * fmax(1, fabs(rest[0])), "rounding");
            for (int k = 0; k < shape.nstate; k++) {
                CHECK_NEAR(s[k].v, first[k], 1e-12 * fmax(1, fabs(first[k])), "rounding");
            }
        }
        uint64_t seed = 8;
        double w[MOST_STATE + 1], g_x = 0, g_value[NEURON_MOST_PAR] = {0};
        for (int k = 0; k <= MOST_STATE; k++) {
            w[k] = test_random(&seed);
        }
        t->start_back(&own, 0, &x, (double[]){w[MOST_STATE], 0}, w, &g_x, g_value);
        for (int k = -1; k < shape.npar && exact; k++) { /* central differences */
            double h = 1e-5 * (k < 0 ? x + 1e-3 : value[k]), loss[2];
            for (int side = 0; side < 2; side++) {
                double at_x = x, moved[NEURON_MOST_PAR];
                memcpy(moved, value, sizeof moved);
                *(k < 0 ? &at_x : &moved[k]) += side ? h : -h;
                t->set(&own, NULL, 0, moved);
                loss[side] = start_loss(t, &own, at_x, w);
            }
            t->set(&own, NULL, 0, value);
            double slope = (loss[1] - loss[0]) / (2 * h), g = k < 0 ? g_x : g_value[k];
            if (fabs(slope - g) > 1e-6 * (fabs(g) + 1e-3)) {
                printf("\n    %s %d", of[n].type, k);
            }
            CHECK_NEAR(slope, g, 1e-6 * (fabs(g) + 1e-3), "central differences over 1e-5");
        }
    }
}

int main(void)
{
    be = test_backend(1);
    static const test_case tests[] = {{"every kind is the plain loop, forward and back", each_kind_is_the_plain_loop},
                                      {"smooth kinds have their derivatives", smooth_kinds_have_their_derivatives},
                                      {"Hodgkin-Huxley is finite at 10 and 25 mV", hodgkin_huxley_is_finite},
                                      {"starts are steady, and derived", starts_are_steady_and_derived}};
    int failed = test_run("neuron", tests, (int)(sizeof tests / sizeof tests[0]));
    test_backend_close(be);
    return failed;
}
