/* stage_lowpass.c - exponential low-pass and gamma cascade in time. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "stages/stage.h"

enum { EXPONENTIAL, CONVIS, REST = 0, ZERO };

typedef struct settings {
    double tau_s, gain;
    int64_t order;
    int form, start;
} settings;

static const key_spec keys[] = {
    {"tau", KEY_REAL, "s", NULL, 0, 1e6, NULL, "time constant (0: no filter)", offsetof(settings, tau_s), 0, 0},
    {"order", KEY_INT, NULL, "0", 0, 32, NULL, "n of the gamma cascade: n + 1 poles, each of tau/n (0: one of tau)", offsetof(settings, order), 0, 0},
    {"gain", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor at low frequencies", offsetof(settings, gain), 0, 0},
    {"form", KEY_WORD, NULL, "exponential", 0, 0, "exponential|convis", "convis: its trapezoid-like gain, order ignored there",
     offsetof(settings, form), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "state before step 0: steady state of the input's rest value, or 0",
     offsetof(settings, start), 0, 0},
};

typedef struct own {
    real par[4];
} own;

static void *lowpass_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)nin;
    (void)at;
    own *o = MEMORY_NEW(own, 1);
    int npole = s->form == CONVIS ? 1 : (int)s->order + 1;
    double tau_s = npole > 1 ? s->tau_s / (double)s->order : s->tau_s;
    double c = tau_s > 0 ? (double)(real)exp(-w->step_s / tau_s) : 0; /* as it is computed with, so that a constant passes unchanged */
    double b = 1 - c, gain = s->gain;
    if (s->form == CONVIS && tau_s > 0) {
        b = (1 + c) * w->step_s / (2 * tau_s);
    }
    o->par[0] = (real)(s->form == CONVIS ? b * gain : b);
    o->par[1] = (real)c;
    o->par[2] = (real)(s->form == CONVIS ? 1 : gain);
    o->par[3] = (real)npole;
    double dc = s->form == CONVIS && c < 1 ? b * gain / (1 - c) : gain;
    plan->nchan = in[0].nchan;
    plan->cells = in[0].cells;
    plan->unit = in[0].unit;
    plan->rest = s->start == REST ? dc * in[0].rest : 0;
    plan->wants_rest = s->start == REST;
    plan->flop = 3.0 * npole + 1;
    /* In the cascade the first pole holds the state before the gain, the others after it. */
    double before_gain = s->form == CONVIS ? plan->rest : s->start == REST ? in[0].rest : 0;
    int64_t plane = (int64_t)in[0].nchan * (in[0].cells ? in[0].cells->pad : (int64_t)w->grid.tile_ny * w->grid.tile_nx);
    plan->state[plan->nstate++] = (stage_state){"first pole", in[0].unit, plane, before_gain};
    if (npole > 1) {
        plan->state[plan->nstate++] = (stage_state){"other poles", in[0].unit, plane * (npole - 1), plan->rest};
    }
    snprintf(plan->note, sizeof plan->note, "recursive, %d pole%s, tau %.4g s", npole, npole > 1 ? "s" : "", s->tau_s);
    return o;
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->scan(c->be, SCAN_LOWPASS, o->par, 4, c->nt, c->in[0], c->state[0], c->state_stride, c->out);
}

static void destroy(void *own_, backend *be)
{
    (void)be;
    memory_free(own_);
}

const stage_type stage_lowpass = {
    .name = "lowpass",
    .help = "exponential low-pass or gamma cascade in time",
    .text = "  y_t = gain (1-c)^(n+1) x_t - sum over i = 1..n+1 of (-c)^i binom(n+1, i) y_(t-i),  c = exp(-dt/tau) for n = 0, exp(-n dt/tau) else;\n"
            "  computed as n + 1 poles in series.  VirtualRetina (Wohrer & Kornprobst 2009): centre and surround filters.\n"
            "  form convis: y_t = c y_(t-1) + (1 + c) dt/(2 tau) x_t.",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .plan = lowpass_plan,
    .forward = forward,
    .destroy = destroy,
};
