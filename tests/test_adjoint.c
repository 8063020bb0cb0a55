/* test_adjoint.c - the derivative of every stage type in the table of trials, by its parameters and by the stimulus.
 *
 * The loss is L = sum over outputs of w y + u y^2 / 2 with fixed pseudo-random w, u.  Oracles:
 *   adjoint identity (linear stages, u = 0):  L(x + v) - L(x) = <v, dL/dx>, to rounding;
 *   Taylor's remainder  R(h) = L(p + h d) - L(p) - h <d, dL/dp>  falls with h^2: the order log2 R(h)/R(h/2) is in [1.9, 2.1];
 *   and the gradient of one chunk, one tile, one sequence is that of any other chunks, tiles, threads and sequences. */
#include <float.h>

#include "trials.h"

/* --- the loss ---------------------------------------------------------------------------------------------------------- */
enum { MOST_OUTPUTS = 40 };
typedef struct scale {
    double value[MOST_OUTPUTS]; /* of each output, so that all count alike */
    bool squares;
} scale;

static double weight_of(int output_number, int64_t step, int64_t place, int use)
{
    uint64_t seed = (uint64_t)(((output_number * 131 + step) * 4099 + place) * 2 + use);
    return test_random(&seed);
}

/* Adds the derivative to g where there is one. */
static double loss_of_chunk(const session *on, const way *w, const scale *s, int64_t step0, int nt, bool derive)
{
    model *m = on->m;
    double sum = 0;
    for (int i = 1; i < model_noutput(m); i++) {
        model_output o = model_output_at(m, i);
        view there = model_gradient(m, i), g = derive ? test_take(on->be, there, nt) : (view){.at = NULL};
        o.v = test_take(on->be, o.v, nt);
        for (int l = 0; l < o.v.nleaf; l++) {
            const grid_tile *tile = &o.v.tile[l];
            for (int64_t k = 0; k < (int64_t)nt * o.nchan * tile->ny * tile->nx; k++) {
                int x = (int)(k % tile->nx), y = (int)(k / tile->nx % tile->ny), c = (int)(k / tile->nx / tile->ny % o.nchan);
                int t = (int)(k / tile->nx / tile->ny / o.nchan);
                int64_t at = l * o.v.leaf_stride + t * o.v.frame_stride + c * o.v.chan_stride + y * o.v.row_stride + x;
                int64_t place = o.cells ? o.cells->id[(int64_t)l * o.cells->pad + x] : ((int64_t)c * w->ny + tile->y0 + y) * w->nx + tile->x0 + x;
                double value = (double)host(o.v.at)[at] / s->value[i], a = weight_of(i, step0 + t, place, 0);
                double b = s->squares ? weight_of(i, step0 + t, place, 1) : 0;
                sum += a * value + 0.5 * b * value * value;
                if (g.at) {
                    host(g.at)[at] += (real)((a + b * value) / s->value[i]);
                }
            }
        }
        if (g.at) {
            test_give(on->be, there, nt, g);
        }
        memory_free(g.at);
        memory_free(o.v.at);
    }
    return sum;
}

/* --- one evaluation ------------------------------------------------------------------------------------------------------ */
typedef struct gradient {
    double loss, by_push; /* by_push: along the stimulus' direction */
    int64_t n;
    double *by_value;     /* [n], of all networks */
} gradient;

static double forward(session *s, const way *w, const scale *sc, real *states)
{
    double loss = 0;
    int64_t nstate = model_nstate(s->m);
    model_start(s->m);
    for (int step = 0, chunk = 0, nt; step < STEPS; step += nt, chunk++) {
        nt = w->chunk < STEPS - step ? w->chunk : STEPS - step;
        for (int l = 0; states && l < model_nleaf(s->m); l++) {
            model_state_get(s->m, l, states + ((int64_t)chunk * model_nleaf(s->m) + l) * nstate);
        }
        show(s, w, step, nt);
        model_forward(s->m, step, nt);
        loss += loss_of_chunk(s, w, sc, step, nt, false);
    }
    return loss;
}

static double dot_with_push(const session *s, int64_t step0, int nt)
{
    view g = test_take(s->be, model_gradient(s->m, 0), nt);
    double sum = 0;
    for (int l = 0; l < g.nleaf; l++) {
        for (int t = 0; t < nt; t++) {
            for (int i = 0; i < g.tile[l].ny * g.tile[l].nx; i++) {
                int y = i / g.tile[l].nx, x = i % g.tile[l].nx;
                sum += push_direction(step0 + t, g.tile[l].y0 + y, g.tile[l].x0 + x) *
                       (double)host(g.at)[l * g.leaf_stride + t * g.frame_stride + y * g.row_stride + x];
            }
        }
    }
    memory_free(g.at);
    return sum;
}

static gradient differentiate(session *s, const way *w, const scale *sc)
{
    int nchunk = (STEPS + w->chunk - 1) / w->chunk, nleaf = model_nleaf(s->m);
    int64_t nstate = model_nstate(s->m);
    gradient g = {.n = model_nvalue(s->m) * model_nnet(s->m)};
    real *states = MEMORY_NEW(real, nstate * nleaf * nchunk);
    g.by_value = MEMORY_NEW(double, g.n);
    g.loss = forward(s, w, sc, states);
    model_back_start(s->m);
    for (int chunk = nchunk - 1; chunk >= 0; chunk--) {
        int step = chunk * w->chunk, nt = w->chunk < STEPS - step ? w->chunk : STEPS - step;
        if (chunk < nchunk - 1) {
            for (int l = 0; l < nleaf; l++) {
                model_state_set(s->m, l, states + ((int64_t)chunk * nleaf + l) * nstate);
            }
            show(s, w, step, nt);
            model_forward(s->m, step, nt);
        }
        model_back_open(s->m, nt);
        loss_of_chunk(s, w, sc, step, nt, true);
        model_back(s->m, step, nt);
        g.by_push += w->blind ? 0 : dot_with_push(s, step, nt);
    }
    model_back_end(s->m);
    model_gradient_sum(s->m, g.by_value);
    memory_free(states);
    return g;
}

static scale find_scale(session *s, const way *w)
{
    scale sc = {{0}, false};
    for (int i = 0; i < model_noutput(s->m); i++) {
        sc.value[i] = 1;
    }
    model_start(s->m);
    show(s, w, 0, w->chunk);
    model_forward(s->m, 0, w->chunk);
    for (int i = 0; i < model_noutput(s->m); i++) {
        model_output o = model_output_at(s->m, i);
        o.v = test_take(s->be, o.v, w->chunk);
        for (int l = 0; l < o.v.nleaf; l++) {
            for (int t = 0; t < w->chunk; t++) {
                for (int x = 0; x < o.v.tile[l].nx; x++) {
                    sc.value[i] = fmax(sc.value[i], fabs((double)host(o.v.at)[l * o.v.leaf_stride + t * o.v.frame_stride + x]));
                }
            }
        }
        memory_free(o.v.at);
    }
    return sc;
}

/* --- what is derived by --------------------------------------------------------------------------------------------------- */
/* A trial's list of "stage.param", or every parameter of its model. */
static int list_fitted(const trial *t, const way *w, stage_fitted *list, char names[][64])
{
    int n = 0;
    if (t->fit) {
        char *text = memory_text("%s", t->fit);
        for (char *name = strtok(text, " "); name; name = strtok(NULL, " "), n++) {
            snprintf(names[n], sizeof names[n], "%s", name);
            char *dot = strchr(names[n], '.');
            *dot = '\0';
            list[n] = (stage_fitted){names[n], dot + 1, INFINITY};
        }
        memory_free(text);
        return n;
    }
    way plain = *w;
    plain.fitted = NULL;
    session s = session_open(t->stages, &plain);
    for (int i = 0; s.m && i < model_nparam(s.m); i++, n++) {
        model_param p = model_param_at(s.m, i);
        int64_t size = 1;
        for (int d = 0; d < p.p.ndim; d++) {
            size *= p.p.dims[d];
        }
        CHECK(p.p.ndim == 0 || size == p.p.n);
        if (p.p.statistic) {
            n--;
            continue;
        }
        int at = snprintf(names[n], sizeof names[n], "%s", p.stage) + 1;
        snprintf(names[n] + at, sizeof names[n] - (size_t)at, "%s", p.p.name);
        list[n] = (stage_fitted){names[n], names[n] + at, INFINITY};
    }
    session_close(&s);
    return n;
}

typedef struct subject {
    const trial *t;
    stage_fitted fitted[64];
    char names[64][64];
    int nfitted;
} subject;

static session open_subject(const subject *u, way *w)
{
    w->fitted = u->fitted;
    w->nfitted = u->nfitted;
    w->training = u->t->flags & TRAINING;
    return session_open(u->t->stages, w);
}

/* --- Taylor -------------------------------------------------------------------------------------------------------------- */
static double loss_at(session *s, way *w, const scale *sc, const double *start, const double *direction, double h, double push)
{
    int64_t n = model_nvalue(s->m);
    double *p = MEMORY_NEW(double, n);
    for (int64_t i = 0; i < n; i++) {
        p[i] = start[i] + h * direction[i];
    }
    model_set(s->m, 0, p);
    w->push = push;
    double loss = forward(s, w, sc, NULL);
    w->push = 0;
    memory_free(p);
    return loss;
}

/* The order of the remainder.  A remainder that is rounding from the start has no order: then the loss is linear along the direction, and that is
 * asked of it. */
static void taylor(const subject *u, const char *what, double loss, double slope, const double remainder[3], double h)
{
    double rounding = 400 * DBL_EPSILON * fmax(1, fabs(loss));
    double order[2] = {log2(fabs(remainder[0] / remainder[1])), log2(fabs(remainder[1] / remainder[2]))};
    bool linear = fabs(remainder[0]) <= rounding && fabs(remainder[1]) <= rounding;
    bool fine = linear || (fabs(order[0] - 2) <= 0.1 && fabs(order[1] - 2) <= 0.1);
    if (!fine) {
        printf("\n    %s by %s: orders %.3f %.3f, remainders %.3g %.3g %.3g, slope %.6g, step %g: %s", u->t->type, what, order[0], order[1], remainder[0],
               remainder[1], remainder[2], slope, h, u->t->stages);
    }
    CHECK(fine);
}

static void try_direction(const subject *u, session *s, way *w, const scale *sc, const gradient *g, const double *start, const double *direction,
                          double push, const char *what)
{
    double slope = push * g->by_push, size = 0, h0 = 1e-3, remainder[3];
    for (int64_t i = 0; i < g->n; i++) {
        slope += direction[i] * g->by_value[i];
        size = fmax(size, fabs(direction[i]));
    }
    if (size == 0 && push == 0) {
        return;
    }
    for (int k = 0; k < 3; k++) {
        double h = ldexp(h0, -k);
        remainder[k] = loss_at(s, w, sc, start, direction, h, h * push) - g->loss - h * slope;
    }
    model_set(s->m, 0, start);
    taylor(u, what, g->loss, slope, remainder, h0);
}

static void try_taylor(const subject *u)
{
    way w = {.ny = NY, .nx = NX, .tiles_y = 1, .tiles_x = 1, .threads = 1, .chunk = 6};
    session s = open_subject(u, &w);
    CHECK(s.m != NULL);
    if (s.m) {
        int64_t n = model_nvalue(s.m);
        double *start = MEMORY_NEW(double, n), *direction = MEMORY_NEW(double, n);
        scale sc = find_scale(&s, &w);
        sc.squares = true;
        model_values(s.m, 0, start);
        gradient g = differentiate(&s, &w, &sc);
        try_direction(u, &s, &w, &sc, &g, start, direction, 1, "stimulus");
        uint64_t seed = 5;
        for (int i = 0; i < model_nparam(s.m); i++) {
            model_param p = model_param_at(s.m, i);
            if (!p.fitted) {
                continue;
            }
            memset(direction, 0, (size_t)n * sizeof *direction);
            for (int64_t k = 0; k < p.p.n; k++) {
                double size = fabs(start[p.at + k]);
                direction[p.at + k] = (size > 0 ? size : 1) * (p.p.n > 1 ? test_random(&seed) : 1);
            }
            char what[160];
            snprintf(what, sizeof what, "%s.%s", p.stage, p.p.name);
            try_direction(u, &s, &w, &sc, &g, start, direction, 0, what);
        }
        memory_free(start);
        memory_free(direction);
        memory_free(g.by_value);
    }
    session_close(&s);
}

/* --- the adjoint identity, and every other way -------------------------------------------------------------------------------- */
static void try_identity(const subject *u)
{
    way w = {.ny = NY, .nx = NX, .tiles_y = u->t->flags & ONE_TILE ? 1 : 2, .tiles_x = u->t->flags & ONE_TILE ? 1 : 3, .threads = 1, .chunk = 4};
    session s = open_subject(u, &w);
    CHECK(s.m != NULL);
    if (s.m) {
        scale sc = find_scale(&s, &w);
        gradient g = differentiate(&s, &w, &sc);
        w.push = 1;
        double change = forward(&s, &w, &sc, NULL) - g.loss;
        CHECK(fabs(change) > 1e-3); /* something depends on the stimulus */
        bool fine = fabs(change - g.by_push) <= 1e-12 * fmax(1, fabs(change));
        if (!fine) {
            printf("\n    %s: <A v, w> = %.15g, <v, A' w> = %.15g: %s", u->t->type, change, g.by_push, u->t->stages);
        }
        CHECK(fine);
        memory_free(g.by_value);
    }
    session_close(&s);
}

static void compare(const subject *u, way w, const scale *sc, const gradient *reference, double times, double tolerance, const char *what)
{
    session s = open_subject(u, &w);
    CHECK(s.m != NULL);
    if (s.m) {
        gradient g = differentiate(&s, &w, sc);
        double worst = w.blind ? 0 : fabs(g.by_push - times * reference->by_push) / fmax(1, fabs(times * reference->by_push));
        for (int64_t i = 0; i < g.n; i++) {
            double size = fmax(1e-6 * fabs(reference->loss), fabs(times * reference->by_value[i]));
            worst = fmax(worst, fabs(g.by_value[i] - times * reference->by_value[i]) / fmax(1, size));
        }
        if (!(worst <= tolerance)) {
            printf("\n    %s, %s: the gradient differs by %g: %s", u->t->type, what, worst, u->t->stages);
        }
        CHECK(worst <= tolerance);
        memory_free(g.by_value);
    }
    session_close(&s);
}

static void try_ways(const subject *u)
{
    bool one = u->t->flags & ONE_TILE;
    way base = {.ny = NY, .nx = NX, .tiles_y = one ? 1 : 2, .tiles_x = one ? 1 : 3, .threads = 1, .chunk = STEPS};
    session s = open_subject(u, &base);
    CHECK(s.m != NULL);
    if (s.m) {
        scale sc = find_scale(&s, &base);
        sc.squares = true;
        gradient g = differentiate(&s, &base, &sc);
        /* sums of some thousand terms that cancel, in other orders */
        double rounding = sizeof(real) == sizeof(float) ? 2e-3 : 1e-11;
        way w = base;
        for (int chunk = 1; chunk <= 4 && !(u->t->flags & TRAINING) && !test_is_slow(); chunk += 3) {
            w.chunk = chunk;
            compare(u, w, &sc, &g, 1, rounding, chunk == 1 ? "chunks of 1" : "chunks of 4");
        }
        w = base;
        w.blind = true;
        if (!test_is_slow()) {
            compare(u, w, &sc, &g, 1, 0, "no derivative by the stimulus");
        }
        w = base;
        if (test_is_slow()) {
            w.tiles_y = w.tiles_x = 1;
            w.chunk = u->t->flags & TRAINING ? STEPS : 4;
            compare(u, w, &sc, &g, 1, rounding, "one tile, chunks of 4");
        } else {
            w.threads = 3;
            compare(u, w, &sc, &g, 1, 0, "3 threads");
        }
        if (!one && !test_is_slow()) {
            w.tiles_y = w.tiles_x = 1;
            compare(u, w, &sc, &g, 1, rounding, "one tile");
            w.tiles_y = NY;
            w.tiles_x = 4;
            w.chunk = u->t->flags & TRAINING ? STEPS : 5;
            compare(u, w, &sc, &g, 1, rounding, "many tiles");
        }
        memory_free(g.by_value);
    }
    session_close(&s);
}

/* Two networks of two sequences: each has the gradient of a model with its values, as many times as there are sequences. */
static void try_networks(const subject *u)
{
    way one = {.ny = NY, .nx = NX, .tiles_y = 1, .tiles_x = 1, .threads = 1, .chunk = 4}, many = one;
    int nnet = u->t->flags & COUPLED ? 1 : 2, nseq = u->t->flags & SUMS ? 1 : 2;
    many.networks = nnet;
    many.sequences = nseq;
    many.threads = test_is_slow() ? 1 : 2;
    session s = open_subject(u, &one), both = open_subject(u, &many);
    CHECK(s.m && both.m && model_nnet(both.m) == nnet);
    if (s.m && both.m) {
        int64_t n = model_nvalue(s.m);
        double *value = MEMORY_NEW(double, n), rounding = sizeof(real) == sizeof(float) ? 2e-3 : 1e-11;
        scale sc = find_scale(&s, &one);
        sc.squares = true;
        for (int net = 0; net < nnet; net++) {
            model_values(s.m, 0, value);
            for (int64_t i = 0; i < n; i++) {
                value[i] *= net ? 1.02 : 1;
            }
            model_set(both.m, net, value);
        }
        gradient all = differentiate(&both, &many, &sc);
        for (int net = 0; net < nnet; net++) {
            model_values(both.m, net, value);
            model_set(s.m, 0, value);
            gradient g = differentiate(&s, &one, &sc);
            double worst = 0;
            for (int64_t i = 0; i < n; i++) {
                double want = nseq * g.by_value[i];
                worst = fmax(worst, fabs(all.by_value[net * n + i] - want) / fmax(1, fmax(1e-6 * fabs(g.loss), fabs(want))));
            }
            if (!(worst <= rounding)) {
                printf("\n    %s, network %d of %d, %d sequences: the gradient differs by %g: %s", u->t->type, net, nnet, nseq, worst, u->t->stages);
            }
            CHECK(worst <= rounding);
            memory_free(g.by_value);
        }
        memory_free(all.by_value);
        memory_free(value);
    }
    session_close(&s);
    session_close(&both);
}

/* --- the loop no stage type escapes ------------------------------------------------------------------------------------------- */
static void each_trial(void (*each)(const subject *), int without)
{
    for (int k = 0; k < NTRIAL; k++) {
        if (trials[k].flags & (without | UNDERIVED)) {
            continue;
        }
        subject *u = MEMORY_NEW(subject, 1);
        way w = {.ny = NY, .nx = NX, .tiles_y = 1, .tiles_x = 1, .threads = 1, .chunk = 4};
        u->t = &trials[k];
        u->nfitted = list_fitted(u->t, &w, u->fitted, u->names);
        each(u);
        memory_free(u);
    }
}

static void every_type_is_derived(void)
{
    for (int i = 0; i < stage_count; i++) {
        bool tried = false, excused = false;
        for (int k = 0; k < NTRIAL; k++) {
            bool same = strcmp(trials[k].type, stage_list[i]->name) == 0;
            tried = tried || (same && !(trials[k].flags & UNDERIVED));
            excused = excused || (same && (trials[k].flags & UNDERIVED));
        }
        if (!tried && !excused) {
            printf("\n    stage type %s is not in the table of trials", stage_list[i]->name);
        }
        CHECK(tried || excused);
        if (tried && !stage_list[i]->backward) {
            printf("\n    stage type %s has no adjoint", stage_list[i]->name);
        }
        CHECK(!tried || stage_list[i]->backward);
    }
}

static void adjoint_identity(void)
{
    if (sizeof(real) == sizeof(double)) {
        each_trial(try_identity, NONLINEAR);
    }
}

static void taylor_orders(void)
{
    if (sizeof(real) == sizeof(double)) {
        each_trial(try_taylor, 0);
    }
}

static void any_way_is_the_same(void)
{
    each_trial(try_ways, 0);
}

static void networks_are_apart(void)
{
    each_trial(try_networks, test_is_slow() ? NONLINEAR : 0);
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    write_kernels();
    static const test_case tests[] = {{"every stage type is derived", every_type_is_derived},
                                      {"adjoint identity", adjoint_identity},
                                      {"Taylor's remainder is of second order", taylor_orders},
                                      {"chunks, tiles and threads do not show", any_way_is_the_same},
                                      {"networks and sequences are apart", networks_are_apart}};
    int failed = test_run("adjoint", tests, (int)(sizeof tests / sizeof tests[0]));
    remove(kernels);
    comm_finish();
    return failed;
}
