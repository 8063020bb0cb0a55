/* stage_gain_control.c - contrast gain control of bipolar cells: a leaky membrane whose conductance follows the pooled square of its own
 * voltage.  Wohrer & Kornprobst 2009, as VirtualRetina 2.2.3 computes it. */
#include <math.h>
#include <stdio.h>

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

typedef struct own {
    int form;
    gain_par par;
    blur_desc desc;
    blur_plan *plan;
    view pooled;      /* Convis: q with halo, working memory */
    double *leaf_sum; /* Convis: [own leaf] */
    int nleaf, radius, pad_ny, pad_nx;
    int64_t npixel;
} own;

static void *gain_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)nin;
    own *o = MEMORY_NEW(own, 1);
    o->form = s->form;
    o->par = (gain_par){.leak_hz = (real)s->leak_hz, .gain_hz = (real)s->gain_hz, .feedback_hz = (real)s->feedback_hz, .dt_s = (real)w->step_s,
                        .decay = (real)exp(-w->step_s / s->tau_s), .saturation = (real)5e5};
    if (s->form == CONVIS) { /* constants that Convis fixes in its constructor, from 5 steps taken for 5 s */
        o->par.dt_s = (real)0.001;
        o->par.a1 = (real)-exp(-0.001 / 5.0);
        o->par.b0 = 1 + (real)exp(-0.001 / 5.0);
    }
    if (in[0].nchan != 1) {
        input_problem(w->in, at, "gain_control takes one channel; '%s' has %d", in[0].name, in[0].nchan);
    }
    o->desc = space_plan(w, s->sigma_deg, &s->space, at, plan);
    o->radius = plan->halo[0];
    o->nleaf = w->nleaf;
    o->pad_ny = w->grid.tile_ny;
    o->pad_nx = w->grid.tile_nx;
    o->npixel = (int64_t)w->grid.ny * w->grid.nx;
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
    plan->state[plan->nstate++] = (stage_state){"adaptation", "Hz", (int64_t)w->grid.tile_ny * w->grid.tile_nx, plan->second_rest};
    plan->flop += 30;
    if (s->form == CONVIS) {
        plan->swap_halo = o->radius;
        plan->bytes_held += (double)w->nleaf * (o->pad_nx + 2 * o->radius) * (o->pad_ny + 2 * o->radius) * sizeof(real);
    }
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    o->plan = be->ops->blur_create(be, &o->desc);
    if (o->form == CONVIS) {
        view *q = &o->pooled;
        int64_t row = o->pad_nx + 2 * o->radius, plane = row * (o->pad_ny + 2 * o->radius);
        *q = (view){.tile = in[0].tile, .nleaf = o->nleaf, .nchan = 1, .halo = o->radius, .leaf_stride = plane, .frame_stride = plane,
                    .chan_stride = plane, .row_stride = row, .pad_ny = o->pad_ny, .pad_nx = o->pad_nx};
        q->at = be->ops->alloc(be, plane * (o->nleaf > 0 ? o->nleaf : 1)) + o->radius * row + o->radius;
        o->leaf_sum = MEMORY_NEW(double, o->nleaf);
    }
}

typedef struct step {
    own *o;
    const stage_call *c;
    int t;
    double mean;
} step;

static view kept(const stage_call *c, int first, int n, int t)
{
    return c->second.at ? view_at_frame(view_of_leaf(c->second, first, n), t) : c->second;
}

static void leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    view v = view_at_frame(view_of_leaf(c->out, first, n), s->t), current = view_at_frame(view_of_leaf(c->in[0], first, n), s->t);
    c->be->ops->gain_step(c->be, s->o->plan, &s->o->par, current, view_at_frame(v, -1), c->state[0] + first * c->state_stride, c->state_stride, v,
                         kept(c, first, n, s->t));
}

static void convis_pool(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    view before = view_at_frame(view_of_leaf(c->out, first, n), s->t - 1);
    c->be->ops->gain_q(c->be, &s->o->par, before, c->state[0] + first * c->state_stride, c->state_stride, view_of_leaf(s->o->pooled, first, n),
                       s->o->leaf_sum + first);
}

static void convis_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    view v = view_at_frame(view_of_leaf(c->out, first, n), s->t), current = view_at_frame(view_of_leaf(c->in[0], first, n), s->t);
    c->be->ops->gain_convis(c->be, s->o->plan, &s->o->par, s->mean, current, view_at_frame(v, -1), view_of_leaf(s->o->pooled, first, n),
                            c->state[0] + first * c->state_stride, c->state_stride, v, kept(c, first, n, s->t));
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    const stage_services *sv = c->services;
    step s = {o, c, 0, 0};
    for (; s.t < c->nt; s.t++) {
        if (o->form == CONVIS) {
            double total;
            c->be->ops->each_leaf(c->be, c->out.nleaf, convis_pool, &s);
            sv->swap(sv->ctx, o->pooled, 1);
            sv->sum_leaves(sv->ctx, o->leaf_sum, 1, &total);
            s.mean = total / (double)o->npixel;
            c->be->ops->each_leaf(c->be, c->out.nleaf, convis_leaves, &s);
        } else {
            c->be->ops->each_leaf(c->be, c->out.nleaf, leaves, &s);
        }
        sv->swap(sv->ctx, view_at_frame(c->out, s.t), 1);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be) {
        be->ops->blur_destroy(be, o->plan);
        if (o->pooled.at) {
            be->ops->release(be, o->pooled.at - o->radius * o->pooled.row_stride - o->radius);
        }
    }
    memory_free(o->leaf_sum);
    memory_free(o);
}

const stage_type stage_gain_control = {
    .name = "gain_control",
    .help = "contrast gain control: leaky membrane with a conductance that follows its pooled square",
    .text = "  dV/dt = gain I - g V,  g = leak + A,  solved exactly over a step of constant I and g\n"
            "  A_t = (1-c) (G_sigma ** q(V_(t-1))) + c A_(t-1),  c = exp(-dt/tau)\n"
            "  q(V) = u/(1 + u/5e5 Hz), u = feedback V^2                        (Wohrer & Kornprobst 2009)\n"
            "  V and A are 0 before step 0 (form convis: A is 1).",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .wants_map = true,
    .plan = gain_plan,
    .attach = attach,
    .forward = forward,
    .destroy = destroy,
};
