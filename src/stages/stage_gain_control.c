/* stage_gain_control.c - contrast gain control of bipolar cells: a leaky membrane whose conductance follows the pooled square of its own
 * voltage.  Wohrer & Kornprobst 2009, as VirtualRetina 2.2.3 computes it. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "stages/space.h"

enum { VIRTUALRETINA, CONVIS };

typedef struct settings {
    double gain_hz, leak_hz, feedback_hz, sigma_deg, tau_s;
    int form;
    const char *adaptation;
    space_settings space;
} settings;

static const key_spec keys[] = {
    {"gain", KEY_REAL, "Hz", NULL, 0, 1e9, NULL, "amplification of the input current", offsetof(settings, gain_hz), 0, 0},
    {"leak", KEY_REAL, "Hz", NULL, 1e-9, 1e9, NULL, "conductance g0 at rest", offsetof(settings, leak_hz), 0, 0},
    {"feedback", KEY_REAL, "Hz", NULL, 0, 1e12, NULL, "lambda: conductance for a unit of squared voltage (0: no gain control)",
     offsetof(settings, feedback_hz), 0, 0},
    {"sigma", KEY_REAL, "deg", NULL, 0, 1000, NULL, "standard deviation of the spatial pool", offsetof(settings, sigma_deg), 0, 0},
    {"tau", KEY_REAL, "s", NULL, 1e-9, 1e6, NULL, "time constant of the adaptation", offsetof(settings, tau_s), 0, 0},
    {"form", KEY_WORD, NULL, "virtualretina", 0, 0, "virtualretina|convis",
     "convis: that program's fixed 5 s, 1 ms step, and mean over the field (Convis 0.6.4.2)", offsetof(settings, form), 0, 0},
    {"adaptation_output", KEY_TEXT, NULL, "", 0, 0, NULL, "name under which the adaptation conductance A is an output of its own",
     offsetof(settings, adaptation), 0, 0},
    SPACE_KEYS(settings),
};

/* Parameters, before those of the pool; derivatives of the op of either form, before those of the pool. */
enum { GAIN, LEAK, FEEDBACK, TAU, NPARAM, BY_DECAY = 3, BY_POOL, BY_B0 = 3, BY_A1, CONVIS_BY_POOL };

/* Of one network. */
typedef struct constants {
    gain_par par;
    double tau_s, decay; /* decay: of one step; Convis: of its 1 ms */
} constants;

typedef struct own {
    int form;
    double value[NPARAM]; /* at first */
    double step_s;
    space space;
    constants *x;      /* [network] */
    view pooled;       /* Convis: q with halo, working memory */
    view g_pooled;     /* and the derivative by it */
    double *leaf_sum;  /* Convis: [own leaf] */
    double *g_op;      /* [own leaf][nop] */
    int nop;
    int nleaf, radius, pad_ny, pad_nx;
    bool differentiate;
    int64_t npixel, plane;
} own;

static const double convis_tau_s = 5, convis_step_s = 0.001; /* as its constructor fixes them: 5 steps taken for 5 s, and 1 ms */

static void plan_params(own *o, const settings *s, stage_plan *plan)
{
    const double start[NPARAM] = {s->gain_hz, s->leak_hz, s->feedback_hz, s->form == CONVIS ? convis_tau_s : s->tau_s};
    static const char *const name[NPARAM] = {"gain", "leak", "feedback", "tau"};
    memcpy(o->value, start, sizeof start);
    for (int i = 0; i < NPARAM; i++) {
        const char *own_name = i == TAU && s->form == CONVIS ? "convis_tau" : name[i];
        stage_add_param(plan, space_positive(own_name, i == TAU ? "s" : "Hz", &o->value[i]));
    }
    space_params(&o->space, "Hz", plan);
}

static void plan_memory(own *o, const stage_world *w, stage_plan *plan)
{
    o->radius = plan->halo[0];
    o->nleaf = w->nleaf;
    o->pad_ny = w->grid.tile_ny;
    o->pad_nx = w->grid.tile_nx;
    o->npixel = (int64_t)w->grid.ny * w->grid.nx;
    o->plane = (int64_t)o->pad_ny * o->pad_nx;
    o->differentiate = w->differentiate;
    o->nop = (o->form == CONVIS ? CONVIS_BY_POOL : BY_POOL) + space_nop(&o->space);
    o->g_op = MEMORY_NEW(double, (int64_t)w->nleaf * o->nop);
    o->leaf_sum = MEMORY_NEW(double, w->nleaf);
    o->x = MEMORY_NEW(constants, w->nnet);
    plan->tape = o->plane; /* A before each step */
    if (o->form == CONVIS) {
        plan->sums = true;
        plan->swap_halo = o->radius;
        plan->bytes_held += (double)w->nleaf * (o->pad_nx + 2 * o->radius) * (o->pad_ny + 2 * o->radius) * sizeof(real) * (w->differentiate ? 2 : 1);
    }
}

static void *gain_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    own *o = MEMORY_NEW(own, 1);
    o->form = s->form;
    o->step_s = w->step_s;
    if (in[0].nchan != 1) {
        input_problem(w->in, at, "gain_control takes one channel; '%s' has %d", in[0].name, in[0].nchan);
    }
    space_want want = space_wants(w, plan, s->sigma_deg);
    space_plan(&o->space, w, &want, &s->space, at, plan);
    plan_params(o, s, plan);
    plan_memory(o, w, plan);
    plan->nchan = 1;
    plan->unit = "1";
    plan->rest = 0;
    plan->coupled = true;
    plan->second = s->adaptation;
    plan->second_unit = "Hz";
    plan->second_rest = s->form == CONVIS ? 1 : 0;
    plan->out_halo = plan->halo[0]; /* what is pooled is its own last output */
    plan->halo[0] = 0;
    plan->out_hist = 1;
    plan->state[plan->nstate++] = (stage_state){"adaptation", "Hz", o->plane, plan->second_rest};
    plan->flop += 30;
    return o;
}

static view working_plane(const own *o, backend *be, const grid_tile *tile)
{
    int64_t row = o->pad_nx + 2 * o->radius, plane = row * (o->pad_ny + 2 * o->radius);
    view q = {.tile = tile, .nleaf = o->nleaf, .nchan = 1, .halo = o->radius, .leaf_stride = plane, .frame_stride = plane,
              .chan_stride = plane, .row_stride = row, .pad_ny = o->pad_ny, .pad_nx = o->pad_nx};
    q.at = be->ops->alloc(be, plane * (o->nleaf > 0 ? o->nleaf : 1)) + o->radius * row + o->radius;
    return q;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    space_attach(&o->space, be);
    if (o->form == CONVIS) {
        o->pooled = working_plane(o, be, in[0].tile);
        if (o->differentiate) {
            o->g_pooled = working_plane(o, be, in[0].tile);
        }
    }
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    constants *x = &o->x[network];
    double tau_s = value[TAU], step_s = o->form == CONVIS ? convis_step_s : o->step_s, decay = exp(-step_s / tau_s);
    x->tau_s = tau_s;
    x->decay = decay;
    x->par = (gain_par){.leak_hz = (real)value[LEAK], .gain_hz = (real)value[GAIN], .feedback_hz = (real)value[FEEDBACK], .dt_s = (real)step_s,
                        .decay = (real)decay, .saturation = (real)5e5, .a1 = (real)-decay, .b0 = 1 + (real)decay};
    space_set(&o->space, be, network, value + NPARAM);
}

typedef struct step {
    own *o;
    const stage_call *c;
    const stage_back *b; /* backward only */
    int t;
    double mean, mean_share;
} step;

static view frame(view v, int first, int n, int t)
{
    return v.at ? view_at_frame(view_of_leaf(v, first, n), t) : v;
}

static dreal *taped(const step *s, int first) /* A before step t */
{
    return s->c->tape + first * s->c->tape_stride + s->t * s->o->plane;
}

static view planes(const step *s, int first, int n, dreal *at, int64_t leaf_stride)
{
    view a = view_of_leaf(s->c->out, first, n);
    a.at = at;
    a.halo = 0;
    a.leaf_stride = leaf_stride;
    a.frame_stride = a.chan_stride = s->o->plane;
    a.row_stride = s->o->pad_nx;
    return a;
}

static void note(const step *s, int first, int n)
{
    const stage_call *c = s->c;
    if (c->tape) {
        view a = planes(s, first, n, c->state[0] + first * c->state_stride, c->state_stride);
        c->be->ops->combine(c->be, 1, (const real[]){1}, 1, &a, planes(s, first, n, taped(s, first), c->tape_stride));
    }
}

static void leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    view v = frame(c->out, first, n, s->t), current = frame(c->in[0], first, n, s->t);
    note(s, first, n);
    c->be->ops->gain_step(c->be, s->o->space.plan[c->network], &s->o->x[c->network].par, current, view_at_frame(v, -1),
                          c->state[0] + first * c->state_stride, c->state_stride, v, frame(c->second, first, n, s->t));
}

static void convis_pool(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    const dreal *a = s->b ? taped(s, first) : c->state[0] + first * c->state_stride;
    if (!s->b) {
        note(s, first, n);
    }
    c->be->ops->gain_q(c->be, &s->o->x[c->network].par, frame(c->out, first, n, s->t - 1), a, s->b ? c->tape_stride : c->state_stride,
                       view_of_leaf(s->o->pooled, c->first + first, n), s->o->leaf_sum + c->first + first);
}

static void convis_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    view v = frame(c->out, first, n, s->t), current = frame(c->in[0], first, n, s->t);
    c->be->ops->gain_convis(c->be, s->o->space.plan[c->network], &s->o->x[c->network].par, s->mean, current, view_at_frame(v, -1),
                            view_of_leaf(s->o->pooled, c->first + first, n), c->state[0] + first * c->state_stride, c->state_stride, v,
                            frame(c->second, first, n, s->t));
}

/* q of step t everywhere, and its mean over the field */
static void convis_prepare(step *s)
{
    own *o = s->o;
    const stage_services *sv = s->c->services;
    double total;
    s->c->be->ops->each_leaf(s->c->be, s->c->out.nleaf, convis_pool, s);
    sv->swap(sv->ctx, o->pooled, 1);
    s->c->be->ops->sync(s->c->be);
    sv->sum_leaves(sv->ctx, o->leaf_sum, 1, &total);
    s->mean = total / (double)o->npixel;
}

static void all_steps(own *o, const stage_call *c)
{
    const stage_services *sv = c->services;
    step s = {.o = o, .c = c};
    for (; s.t < c->nt; s.t++) {
        if (o->form == CONVIS) {
            convis_prepare(&s);
            c->be->ops->each_leaf(c->be, c->out.nleaf, convis_leaves, &s);
        } else {
            c->be->ops->each_leaf(c->be, c->out.nleaf, leaves, &s);
        }
        sv->swap(sv->ctx, view_at_frame(c->out, s.t), 1);
    }
}

/* Whether the backend alone does all steps of a chunk: Convis' mean comes to the host in between. */
static bool repeats(const own *o, const stage_call *c)
{
    return o->form != CONVIS && c->services->swap_is_local(c->services->ctx, c->out.halo);
}

enum { NKEY = 6 };
static void key_of_values(const gain_par *par, int64_t key[NKEY])
{
    const double values[NKEY] = {(double)par->leak_hz, (double)par->gain_hz, (double)par->feedback_hz, (double)par->dt_s, (double)par->decay,
                                 (double)par->saturation};
    memcpy(key, values, sizeof values);
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    const backend_ops *ops = c->be->ops;
    int64_t key[STAGE_KEY + NKEY];
    stage_key(o, c, key);
    key_of_values(&o->x[c->network].par, key + STAGE_KEY);
    if (!repeats(o, c)) {
        all_steps(o, c);
    } else if (ops->repeat_begin(c->be, sizeof key / sizeof *key, key)) {
        all_steps(o, c);
        ops->repeat_end(c->be);
    }
}

/* --- adjoint: steps from the last to the first ------------------------------------------------------------------------------- */
/* The derivative by A_t as an output of its own joins that by the state. */
static void add_second(const step *s, int first, int n)
{
    const stage_call *c = s->c;
    view gy = frame(s->b->g_second, first, n, s->t);
    if (gy.at) {
        view a = planes(s, first, n, s->b->g_state[0] + first * s->b->g_state_stride, s->b->g_state_stride);
        c->be->ops->combine_back(c->be, 1, (const real[]){1}, 1, &gy, gy, &a, NULL, 0);
    }
}

static double *op_derivatives(const step *s, int first)
{
    return s->b->g_par ? s->o->g_op + (int64_t)(s->c->first + first) * s->o->nop : NULL;
}

static void leaves_back(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    const stage_back *b = s->b;
    add_second(s, first, n);
    view gv = frame(b->g_out, first, n, s->t);
    c->be->ops->gain_step_back(c->be, s->o->space.plan[c->network], &s->o->x[c->network].par, frame(c->in[0], first, n, s->t),
                               frame(c->out, first, n, s->t - 1), taped(s, first), c->tape_stride, gv,
                               b->g_state[0] + first * b->g_state_stride, b->g_state_stride, frame(b->g_in[0], first, n, s->t),
                               view_at_frame(gv, -1), op_derivatives(s, first), s->o->nop);
}

static void convis_leaves_back(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    own *o = s->o;
    const stage_call *c = s->c;
    const stage_back *b = s->b;
    add_second(s, first, n);
    view gv = frame(b->g_out, first, n, s->t);
    c->be->ops->gain_convis_back(c->be, o->space.plan[c->network], &o->x[c->network].par, s->mean, frame(c->in[0], first, n, s->t),
                                 frame(c->out, first, n, s->t - 1), view_of_leaf(o->pooled, c->first + first, n), taped(s, first), c->tape_stride, gv,
                                 b->g_state[0] + first * b->g_state_stride, b->g_state_stride, frame(b->g_in[0], first, n, s->t),
                                 view_at_frame(gv, -1), view_of_leaf(o->g_pooled, c->first + first, n), o->leaf_sum + c->first + first,
                                 op_derivatives(s, first), o->nop);
}

static void convis_pool_back(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    const stage_back *b = s->b;
    c->be->ops->gain_q_back(c->be, &s->o->x[c->network].par, frame(c->out, first, n, s->t - 1), taped(s, first), c->tape_stride,
                            view_of_leaf(s->o->g_pooled, c->first + first, n), s->mean_share, frame(b->g_out, first, n, s->t - 1),
                            b->g_state[0] + first * b->g_state_stride, b->g_state_stride, op_derivatives(s, first), s->o->nop);
}

static void convis_step_back(step *s)
{
    own *o = s->o;
    const stage_call *c = s->c;
    const stage_services *sv = c->services;
    double total;
    if (s->b->g_par) { /* who wants no derivative by taps needs no q */
        convis_prepare(s);
    }
    c->be->ops->each_leaf(c->be, c->out.nleaf, convis_leaves_back, s);
    c->be->ops->sync(c->be);
    sv->swap_back(sv->ctx, o->g_pooled, 1);
    sv->sum_leaves(sv->ctx, o->leaf_sum, 1, &total);
    s->mean_share = total / (double)o->npixel;
    c->be->ops->each_leaf(c->be, c->out.nleaf, convis_pool_back, s);
}

/* From the constants of the op to the parameters: VirtualRetina's decay is c; Convis' a1 = -c, b0 = 1 + c;  c = exp(-dt/tau). */
static void chain(const own *o, const constants *x, const double *op, double *g_par)
{
    double decay_by_tau = x->decay * (double)x->par.dt_s / (x->tau_s * x->tau_s);
    for (int i = GAIN; i <= FEEDBACK; i++) {
        g_par[i] += op[i];
    }
    g_par[TAU] += decay_by_tau * (o->form == CONVIS ? op[BY_B0] - op[BY_A1] : op[BY_DECAY]);
    space_chain(&o->space, op + (o->form == CONVIS ? CONVIS_BY_POOL : BY_POOL), g_par + NPARAM);
}

static void all_steps_back(own *o, const stage_call *c, const stage_back *b)
{
    step s = {.o = o, .c = c, .b = b, .t = c->nt - 1};
    for (; s.t >= 0; s.t--) { /* the halos of the last frame were swapped back with those of the other outputs */
        if (o->form == CONVIS) {
            convis_step_back(&s);
        } else {
            c->be->ops->each_leaf(c->be, c->out.nleaf, leaves_back, &s);
        }
        if (s.t > 0) {
            c->services->swap_back(c->services->ctx, view_at_frame(b->g_out, s.t - 1), 1);
        }
    }
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    const backend_ops *ops = c->be->ops;
    double *g = o->g_op + (int64_t)c->first * o->nop;
    int64_t key[STAGE_BACK_KEY + NKEY];
    memset(g, 0, (size_t)(c->nleaf * o->nop) * sizeof *g);
    stage_back_key(o, c, b, b->g_par ? g : NULL, key);
    key_of_values(&o->x[c->network].par, key + STAGE_BACK_KEY);
    if (!repeats(o, c)) {
        all_steps_back(o, c, b);
    } else if (ops->repeat_begin(c->be, sizeof key / sizeof *key, key)) {
        all_steps_back(o, c, b);
        ops->repeat_end(c->be);
    }
    ops->sync(c->be);
    for (int l = 0; b->g_par && l < c->nleaf; l++) {
        chain(o, &o->x[c->network], g + (int64_t)l * o->nop, b->g_par + l * b->g_par_stride);
    }
}

static void release_plane(const own *o, backend *be, view *q)
{
    if (q->at) {
        be->ops->release(be, q->at - o->radius * q->row_stride - o->radius);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be) {
        release_plane(o, be, &o->pooled);
        release_plane(o, be, &o->g_pooled);
    }
    space_destroy(&o->space, be);
    memory_free(o->x);
    memory_free(o->g_op);
    memory_free(o->leaf_sum);
    memory_free(o);
}

const stage_type stage_gain_control = {
    .name = "gain_control",
    .help = "contrast gain control: leaky membrane with a conductance that follows its pooled square",
    .text = "  dV/dt = gain I - g V,  g = leak + A,  solved exactly over a step of constant I and g\n"
            "  A_t = (1-c) (G_sigma ** q(V_(t-1))) + c A_(t-1),  c = exp(-dt/tau)\n"
            "  q(V) = u/(1 + u/5e5 Hz), u = feedback V^2                        (Wohrer & Kornprobst 2009)\n"
            "  V and A are 0 before step 0 (form convis: A is 1).\n"
            "  A fit may change gain, leak, feedback, tau (form convis: `convis_tau`, the 5 s that it computes with) and sigma, or every tap of\n"
            "  the pool (`taps`, which start as the method's own) and a `bias`.",
    STAGE_KEYS(settings, keys),
    .wants_map = true,
    .plan = gain_plan,
    .attach = attach,
    .set = set,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
