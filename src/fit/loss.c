/* loss.c - the `loss` section, weights, and the loss that needs whole courses. */
#include "fit/loss.h"

#include <math.h>

#include "base/error.h"

/* --- the section ------------------------------------------------------------------------------------------------------- */
typedef struct loss_section {
    loss_settings s;
    const input_node *activity;
} loss_section;

#define AT(field) offsetof(loss_section, s) + offsetof(loss_settings, field)
static const key_spec keys[] = {
    {"type", KEY_WORD, NULL, "poisson", 0, 0, "poisson|bernoulli|squared|correlation", "how output y and response r are compared", AT(type), 0, 0},
    {"reduce", KEY_WORD, NULL, "mean", 0, 0, "mean|sum", "mean over counted entries (Keras) or plain sum (Convis)", AT(reduce), 0, 0},
    {"stage", KEY_TEXT, NULL, "", 0, 0, NULL, "whose output is compared; not given: the last one", AT(stage), 0, 0},
    {"weight", KEY_REAL, "", "1", 0, 1e300, NULL, "factor of the loss beside penalties", AT(weight), 0, 0},
    {"epsilon", KEY_REAL, "", "1e-7", 0, 1, NULL, "added under the logarithm (poisson, bernoulli)", AT(epsilon), 0, 0},
    {"burn_in", KEY_REAL, "s", "0 s", 0, 1e7, NULL, "not counted at the start of every sequence", AT(burn_in_s), 0, 0},
    {"cell_weights", KEY_REALS, "", "", 0, 1e300, NULL, "one for each cell; not given: all 1", AT(cell_weight), AT(ncell_weight),
     LOSS_MAX_CELL_WEIGHT},
    {"mask_steps", KEY_REALS, "", "", 0, 9e15, NULL, "[first, end, first, end, ...]: steps that are not counted", AT(mask_steps), AT(nmask_steps),
     LOSS_MAX_MASK},
    {"activity", KEY_NODE, NULL, "", 0, 0, NULL, "list of penalties on outputs (topic activity)", offsetof(loss_section, activity), 0, 0},
};

static const key_spec activity_keys[] = {
    {"stage", KEY_TEXT, NULL, NULL, 0, 0, NULL, "whose output is kept small", offsetof(loss_activity, stage), 0, 0},
    {"l1", KEY_REAL, "", "0", 0, 1e300, NULL, "times the sum of |y| a step", offsetof(loss_activity, l1), 0, 0},
    {"l2", KEY_REAL, "", "0", 0, 1e300, NULL, "times the sum of y^2 a step", offsetof(loss_activity, l2), 0, 0},
};

static const char text[] =
    "  poisson      y - r log(y + epsilon)\n"
    "  bernoulli    -(r log(y + epsilon) + (1 - r) log(1 - y + epsilon))\n"
    "  squared      (y - r)^2\n"
    "  correlation  1 - Pearson correlation of y and r over the whole course, mean over cells\n"
    "Each term is multiplied by the weight of its cell; burn-in, masked steps and missing data are not counted.  A mean is divided by the number\n"
    "of entries that are counted.  y and r are in the same unit: counts a step or Hz, which changes how strong penalties are beside the loss.";
static const char activity_text[] =
    "A list of {stage: STAGE, l1: .., l2: ..}.  With reduce: mean it is a mean over steps of the sum over cells or pixels, as in Keras; else a\n"
    "plain sum.";

const help_topic loss_topic = {"loss", "section `loss` of a fit: what is minimised", text, keys, sizeof keys / sizeof *keys};
const help_topic loss_activity_topic = {"activity", "list `loss.activity`: outputs kept small", activity_text, activity_keys,
                                        sizeof activity_keys / sizeof *activity_keys};

static void read_activity(input *in, const input_node *list, loss_settings *s)
{
    if (list && !input_is_list(list)) {
        input_problem(in, list, "a list is wanted: - {stage: STAGE, l1: 1e-3}");
        return;
    }
    if (input_count(list) > LOSS_MAX_ACTIVITY) {
        input_problem(in, list, "%d penalties; at most %d", input_count(list), LOSS_MAX_ACTIVITY);
        return;
    }
    for (int i = 0; i < input_count(list); i++) {
        INPUT_FILL(in, input_item(list, i), "loss: activity", activity_keys, &s->activity[i]);
        s->nactivity = i + 1;
    }
}

void loss_read(input *in, const input_node *section, loss_settings *s)
{
    loss_section all = {.activity = NULL};
    INPUT_FILL(in, section, "loss", keys, &all);
    *s = all.s;
    s->nactivity = 0;
    read_activity(in, all.activity, s);
    bool good = s->nmask_steps % 2 == 0;
    for (int i = 0; i + 1 < s->nmask_steps; i += 2) {
        good = good && s->mask_steps[i] == floor(s->mask_steps[i]) && s->mask_steps[i + 1] == floor(s->mask_steps[i + 1]);
        good = good && s->mask_steps[i] < s->mask_steps[i + 1];
    }
    if (!good) {
        input_problem(in, input_child(section, "mask_steps"), "loss: mask_steps: pairs of whole numbers are wanted, first < end");
    }
}

enum loss_kind loss_op(const loss_settings *s)
{
    static const enum loss_kind op[] = {LOSS_POISSON, LOSS_BERNOULLI, LOSS_SQUARE, LOSS_LINEAR};
    return op[s->type];
}

double loss_factor(double weight, enum loss_reduce reduce, double count)
{
    return reduce == LOSS_SUM ? weight : count > 0 ? weight / count : 0;
}

/* --- weights ----------------------------------------------------------------------------------------------------------- */
static bool step_counts(const loss_settings *s, int64_t step, int64_t first_counted)
{
    bool counts = step >= first_counted;
    for (int i = 0; i + 1 < s->nmask_steps; i += 2) {
        counts = counts && !((double)step >= s->mask_steps[i] && (double)step < s->mask_steps[i + 1]);
    }
    return counts;
}

int64_t loss_weights(const loss_settings *s, int64_t step0, int64_t nt, int64_t first_counted, int64_t ncell, const double *cell_weight,
                     const bool *counted, real *w)
{
    int64_t n = 0;
    for (int64_t t = 0; t < nt; t++) {
        bool counts = step_counts(s, step0 + t, first_counted);
        for (int64_t c = 0; c < ncell; c++) {
            int64_t i = t * ncell + c;
            w[i] = counts && (!counted || counted[i]) ? (real)(cell_weight ? cell_weight[c] : 1) : 0;
            n += w[i] != 0;
        }
    }
    return n;
}

/* --- correlation --------------------------------------------------------------------------------------------------------- */
void loss_moments_add(int64_t nt, int64_t ncell, int64_t step_stride, const real *y, const real *target, const real *weight, loss_moments *m)
{
    for (int64_t t = 0; t < nt; t++) {
        for (int64_t c = 0; c < ncell; c++) {
            int64_t i = t * step_stride + c;
            double w = weight ? (double)weight[i] : 1;
            if (w != 0) { /* the target may be NaN elsewhere */
                double a = (double)y[i], b = (double)target[i];
                m[c].w += w;
                m[c].y += w * a;
                m[c].r += w * b;
                m[c].yy += w * a * a;
                m[c].rr += w * b * b;
                m[c].yr += w * a * b;
            }
        }
    }
}

/* Sums of squares about the means; false if a course does not vary (by less than the rounding of its sums). */
static bool variation(const loss_moments *m, double *yy, double *rr, double *yr)
{
    const double rounding = 1e-13;
    if (!(m->w > 0)) {
        return false;
    }
    *yy = m->yy - m->y * m->y / m->w;
    *rr = m->rr - m->r * m->r / m->w;
    *yr = m->yr - m->y * m->r / m->w;
    return *yy > rounding * m->yy && *rr > rounding * m->rr;
}

int64_t loss_correlation_count(int64_t ncell, const loss_moments *m)
{
    int64_t n = 0;
    for (int64_t c = 0; c < ncell; c++) {
        double yy, rr, yr;
        n += variation(&m[c], &yy, &rr, &yr);
    }
    return n;
}

/* r = S_yr / sqrt(S_yy S_rr), so dr/dy_t = w_t ((r_t - mean r) / sqrt(S_yy S_rr) - r (y_t - mean y) / S_yy). */
double loss_correlation(int64_t ncell, const loss_moments *m, double factor, loss_slope *slope)
{
    double sum = 0;
    for (int64_t c = 0; c < ncell; c++) {
        double yy, rr, yr;
        slope[c] = (loss_slope){0, 0, 0};
        if (variation(&m[c], &yy, &rr, &yr)) {
            double norm = sqrt(yy * rr), r = yr / norm;
            sum += 1 - r;
            slope[c].by_y = factor * r / yy;
            slope[c].by_target = -factor / norm;
            slope[c].constant = factor * (m[c].r / m[c].w / norm - r * (m[c].y / m[c].w) / yy);
        }
    }
    return sum;
}

void loss_correlation_back(int64_t nt, int64_t ncell, int64_t step_stride, const real *y, const real *target, const loss_slope *slope, real *g)
{
    for (int64_t t = 0; t < nt; t++) {
        for (int64_t c = 0; c < ncell; c++) {
            int64_t i = t * step_stride + c;
            g[i] = (real)(slope[c].by_y * (double)y[i] + slope[c].by_target * (double)target[i] + slope[c].constant);
        }
    }
}
