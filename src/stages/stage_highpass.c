/* stage_highpass.c - the input minus its low-pass: undershoot of the centre, transience of ganglion cells. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "stages/stage.h"

enum { EXPONENTIAL, CONVIS, FIR, REST = 0, ZERO };

typedef struct settings {
    double tau_s, weight;
    int form, start;
} settings;

static const key_spec keys[] = {
    {"tau", KEY_REAL, "s", NULL, 1e-9, 1e6, NULL, "time constant of the low-pass that is taken off", offsetof(settings, tau_s), 0, 0},
    {"weight", KEY_REAL, "", NULL, -1000, 1000, NULL, "its weight: 0 nothing, 1 a constant input dies away", offsetof(settings, weight), 0, 0},
    {"form", KEY_WORD, NULL, "exponential", 0, 0, "exponential|convis|fir",
     "convis: low-pass of the frame before, with its gain; fir: Convis' truncated kernel of GanglionInput", offsetof(settings, form), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "state before step 0: steady state of the input's rest value, or 0",
     offsetof(settings, start), 0, 0},
};

typedef struct own {
    int form;
    real par[4];
    conv_desc desc; /* FIR */
    real *taps;
    conv_plan *conv;
} own;

/* Convis 0.6.4.2: a = weight dt/tau, L = clip(trunc(-n ln(0.001/a)) + 1, 10, 1000) taps a exp(-(j + 0.4)/n), n = tau/dt, taken off one
 * frame later; kernel [1, -h_0, -h_1, ...]. */
static void plan_fir(own *o, const stage_world *w, const settings *s, const stage_input *in, stage_plan *plan)
{
    int nchan = in->nchan;
    double n = s->tau_s / w->step_s, a = s->weight / n;
    double wanted = a > 0 ? trunc(-n * log(0.001 / a)) + 1 : 10;
    int length = wanted < 10 ? 10 : wanted > 1000 ? 1000 : (int)wanted;
    double sum = 1;
    o->taps = MEMORY_NEW(real, (length + 1) * nchan);
    for (int c = 0; c < nchan; c++) {
        real *k = o->taps + c * (length + 1);
        k[0] = 1;
        for (int j = 0; j < length; j++) {
            k[j + 1] = (real)(-a * exp(-(j + 0.4) / n));
            sum += c == 0 ? (double)k[j + 1] : 0;
        }
    }
    o->desc = (conv_desc){nchan, nchan, nchan, length + 1, 1, 1, w->grid.tile_ny, w->grid.tile_nx, w->max_nt, CONV_DIRECT};
    plan->hist[0] = length;
    plan->flop = 2.0 * length;
    plan->past_zero = s->start == ZERO;
    plan->rest = s->start == REST ? sum * in->rest : 0;
    snprintf(plan->note, sizeof plan->note, "direct, %d taps in time", length + 1);
}

static void *highpass_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)nin;
    own *o = MEMORY_NEW(own, 1);
    o->form = s->form;
    double c = (double)(real)exp(-w->step_s / s->tau_s); /* as it is computed with, so that a constant passes unchanged */
    double b = s->form == CONVIS ? (1 + c) * w->step_s / (2 * s->tau_s) : 1 - c;
    plan->nchan = in[0].nchan;
    plan->cells = in[0].cells;
    plan->unit = in[0].unit;
    plan->wants_rest = s->start == REST;
    if (s->form == FIR) {
        if (in[0].cells) {
            input_problem(w->in, at, "form: fir works on maps, not on cells");
        }
        plan_fir(o, w, s, &in[0], plan);
        return o;
    }
    o->par[0] = (real)b;
    o->par[1] = (real)c;
    o->par[2] = (real)s->weight;
    double gain = s->form == CONVIS && c < 1 ? b / (1 - c) : 1, low = s->start == REST ? gain * in[0].rest : 0;
    plan->rest = s->start == REST ? in[0].rest - s->weight * low : 0;
    plan->flop = 5;
    int64_t plane = (int64_t)in[0].nchan * (in[0].cells ? in[0].cells->pad : (int64_t)w->grid.tile_ny * w->grid.tile_nx);
    plan->state[plan->nstate++] = (stage_state){"low-pass", in[0].unit, plane, low};
    if (s->form == CONVIS) {
        plan->state[plan->nstate++] = (stage_state){"last input", in[0].unit, plane, in[0].rest};
    }
    snprintf(plan->note, sizeof plan->note, "recursive, tau %.4g s, weight %.4g", s->tau_s, s->weight);
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    (void)in;
    if (o->form == FIR) {
        o->conv = be->ops->conv_create(be, &o->desc, o->taps);
    }
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    const backend_ops *ops = c->be->ops;
    if (o->form == FIR) {
        ops->conv(c->be, o->conv, c->nt, c->in[0], NULL, 0, c->out);
    } else if (o->form == CONVIS) {
        const real par[4] = {o->par[0], o->par[1], o->par[2], c->step0 == 0};
        ops->scan(c->be, SCAN_HIGHPASS_DELAYED, par, 4, c->nt, c->in[0], c->state[0], c->state_stride, c->out);
    } else {
        ops->scan(c->be, SCAN_HIGHPASS, o->par, 3, c->nt, c->in[0], c->state[0], c->state_stride, c->out);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be && o->conv) {
        be->ops->conv_destroy(be, o->conv);
    }
    memory_free(o->taps);
    memory_free(o);
}

const stage_type stage_highpass = {
    .name = "highpass",
    .help = "input minus its exponential low-pass (undershoot, transience)",
    .text = "  y = x - weight LP(x),  LP_t = (1-c) x_t + c LP_(t-1),  c = exp(-dt/tau):  kernel delta - weight exp(-t/tau)/tau of VirtualRetina.",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .plan = highpass_plan,
    .attach = attach,
    .forward = forward,
    .destroy = destroy,
};
