/* analyze_space.c - covariance, subspaces, subunits, regression and tuning of a cell, written and said. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/analyze_own.h"

/* --- STC and iSTAC -------------------------------------------------------------------------------------------------- */
enum { SHOWN = 6 };

static void say_values(const stc_result *c)
{
    char line[256] = "";
    int used = 0;
    for (int i = 0; i < SHOWN && i < c->width; i++) {
        used += snprintf(line + used, sizeof line - (size_t)used, " %.4g", c->value[i]);
    }
    used += snprintf(line + used, sizeof line - (size_t)used, c->width > 2 * SHOWN ? " ..." : "");
    for (int i = c->width - SHOWN > SHOWN ? c->width - SHOWN : SHOWN; i < c->width; i++) {
        used += snprintf(line + used, sizeof line - (size_t)used, " %.4g", c->value[i]);
    }
    log_say(LOG_RESULT, "  STC eigenvalues%s", line);
    if (!isnan(c->null_low)) {
        log_say(LOG_RESULT, "  STC shifted spikes stay within %.4g .. %.4g: %d excitatory and %d suppressive axes", c->null_low, c->null_high,
                c->excitatory, c->suppressive);
    }
}

/* 40 spikes a dimension gave no subunits in a model cell with six, 260 gave them; with fewer spikes than dimensions C1 has no inverse. */
static bool enough_spikes(const cell_filter *f, int width)
{
    if (f->nspike < 100.0 * width) {
        log_warn("%s: %.0f spikes for %d dimensions; covariances want about 100 a dimension%s", f->group, f->nspike, width,
                 f->nspike <= width ? ", and more than one: left out" : "");
    }
    return f->nspike > width;
}

static void put_stc(analysis *a, const cell_filter *f, const stc_result *c)
{
    const recording *r = a->r;
    int64_t pixels = (int64_t)f->ny * f->nx;
    char *group = memory_text("%s/stc", f->group);
    store_define_group(a->file, group);
    analyze_put(a, group, "eigenvalues", "1", c->value, c->width, 0, 0);
    analyze_put(a, group, "eigenvectors", "1", c->vector, c->width, a->stc.full ? r->set.lags : f->ny, a->stc.full ? pixels : f->nx);
    analyze_attr(a, group, "null_low", c->null_low);
    analyze_attr(a, group, "null_high", c->null_high);
    analyze_attr(a, group, "excitatory", c->excitatory);
    analyze_attr(a, group, "suppressive", c->suppressive);
    memory_free(group);
}

static void run_istac(analysis *a, const cell_filter *f, const stc_result *c)
{
    int most = (int)a->istac.dimensions < c->width ? (int)a->istac.dimensions : c->width;
    double *basis = MEMORY_NEW(double, most *c->width), *kl = MEMORY_NEW(double, most), total = 0;
    char *group = memory_text("%s/istac", f->group), line[256] = "";
    int used = 0;
    for (int m = 1; m <= most; m++) {
        kl[m - 1] = stc_information(c, m, a->istac.cut, basis, &total);
        if (used < (int)sizeof line - 32) {
            used += snprintf(line + used, sizeof line - (size_t)used, " %.4f", kl[m - 1] / total);
        }
    }
    store_define_group(a->file, group);
    analyze_put(a, group, "basis", "1", basis, most, c->width, 0);
    analyze_put(a, group, "information", "nat", kl, most, 0, 0);
    analyze_attr(a, group, "total", total);
    log_say(LOG_RESULT, "  iSTAC%s of %.4f nats a spike in 1, 2, ... dimensions", line, total);
    memory_free(basis);
    memory_free(kl);
    memory_free(group);
}

void analyze_stc(analysis *a, const cell_filter *f)
{
    if (!a->set.stc && !a->set.istac) {
        return;
    }
    recording_rows rows = analyze_rows(a, f, a->stc.full);
    stc_settings s = a->stc;
    s.shifts = a->set.stc ? s.shifts : 0;
    if (!enough_spikes(f, recording_width(&rows))) {
        return;
    }
    stc_result *c = stc_run(&rows, &s);
    if (a->set.stc) {
        put_stc(a, f, c);
        say_values(c);
    }
    if (a->set.istac) {
        run_istac(a, f, c);
    }
    stc_destroy(c);
}

/* --- GLM ------------------------------------------------------------------------------------------------------------ */
static recording_rows glm_rows(const analysis *a, const cell_filter *f)
{
    recording_rows rows = analyze_rows(a, f, true);
    if (a->glm.nwindow == 4) {
        rows.y0 = (int)a->glm.window[0];
        rows.x0 = (int)a->glm.window[1];
        rows.ny = (int)a->glm.window[2];
        rows.nx = (int)a->glm.window[3];
    }
    rows.history = (int)a->glm.history;
    rows.coupled = a->glm.coupled;
    return rows;
}

static double glm_bits(const analysis *a, const cell_filter *f, const double *mu, enum recording_part part)
{
    const recording *r = a->r;
    double *p = MEMORY_NEW(double, r->nstep), *y = MEMORY_NEW(double, r->nstep);
    scores_likelihood l;
    int64_t n = 0;
    for (int64_t t = 0; t < r->nstep; t++) {
        if (r->part[t] == part) {
            p[n] = mu[t];
            y[n++] = r->count[f->cell * r->nstep + t];
        }
    }
    scores_poisson(n, y, p, NAN, 0, &l);
    memory_free(p);
    memory_free(y);
    return n > 0 ? l.bits_per_spike : NAN;
}

void analyze_glm(analysis *a, const cell_filter *f)
{
    if (!a->set.glm) {
        return;
    }
    const recording *r = a->r;
    recording_rows rows = glm_rows(a, f);
    glm_result *g = glm_fit(&rows, a->glm.ridge, a->glm.steps);
    double *mu = MEMORY_NEW(double, r->nstep);
    int64_t pixels = (int64_t)rows.ny * rows.nx, window = pixels * r->set.lags;
    char *group = memory_text("%s/glm", f->group);
    glm_predict(&rows, g, mu);
    double train = glm_bits(a, f, mu, RECORDING_TRAIN), test = glm_bits(a, f, mu, RECORDING_TEST);
    store_define_group(a->file, group);
    analyze_put(a, group, "stimulus", "1", g->weight, r->set.lags, rows.ny, rows.nx);
    if (rows.history > 0) {
        analyze_put(a, group, "history", "1", g->weight + window, rows.history, 0, 0);
    }
    if (rows.coupled && r->ncell > 1) {
        analyze_put(a, group, "coupling", "1", g->weight + window + rows.history, r->ncell - 1, rows.history, 0);
    }
    analyze_put(a, group, "prediction", "1/bin", mu, r->nstep, 0, 0);
    analyze_attr(a, group, "bias", g->bias);
    analyze_attr(a, group, "objective", g->objective);
    analyze_attr(a, group, "gradient", g->gradient);
    analyze_attr(a, group, "bits_per_spike_train", train);
    analyze_attr(a, group, "bits_per_spike", test);
    log_say(LOG_RESULT, "  GLM %d weights: objective %.9f after %d Newton steps (gradient %.1e); %.4f bits/spike held out, %.4f in training",
            g->width + 1, g->objective, g->steps, g->gradient, test, train);
    memory_free(mu);
    memory_free(group);
    glm_destroy(g);
}

/* --- STNMF ---------------------------------------------------------------------------------------------------------- */
/* Cells are dealt to ranks one by one; what a rank found goes to all. */
static void share_modules(const analysis *a, stnmf_result **all, const cell_filter *filters)
{
    for (int64_t c = 0; c < a->r->ncell; c++) {
        int owner = (int)(c % comm_size()), k = (int)a->stnmf.modules, p = filters[c].ny * filters[c].nx;
        if (filters[c].nspike <= 0) {
            continue;
        }
        if (owner != comm_rank()) {
            all[c] = MEMORY_NEW(stnmf_result, 1);
        }
        double *module = all[c]->module, *moran = all[c]->moran;
        comm_broadcast(all[c], sizeof **all, owner);
        all[c]->module = owner == comm_rank() ? module : MEMORY_NEW(double, k *p);
        all[c]->moran = owner == comm_rank() ? moran : MEMORY_NEW(double, k);
        comm_broadcast(all[c]->module, (size_t)(k * p) * sizeof *module, owner);
        comm_broadcast(all[c]->moran, (size_t)k * sizeof *moran, owner);
    }
}

/* Local modules as kernels of `conv`, [out][1][y][x] of norm 1: turned over, because kernels are impulse responses. */
static void put_kernels(analysis *a, const char *group, const stnmf_result *m, int ny, int nx)
{
    int64_t dims[4] = {m->nlocal, 1, ny, nx}, n = (int64_t)ny * nx;
    double *kernel = MEMORY_NEW(double, dims[0] * n);
    char *path = memory_text("%s/kernel", group);
    for (int k = 0; k < m->nlocal; k++) {
        double square = 0;
        for (int64_t i = 0; i < n; i++) {
            square += m->module[k * n + i] * m->module[k * n + i];
        }
        for (int64_t i = 0; i < n; i++) {
            kernel[k * n + i] = m->module[k * n + n - 1 - i] / sqrt(square);
        }
    }
    store_define_values(a->file, path, STORE_F64, 4, dims, "1", kernel);
    memory_free(path);
    memory_free(kernel);
}

static void put_modules(analysis *a, const cell_filter *f, const stnmf_result *m)
{
    char *group = memory_text("%s/stnmf", f->group), line[256] = "";
    store_define_group(a->file, group);
    analyze_put(a, group, "modules", "1", m->module, m->nmodule, f->ny, f->nx);
    analyze_put(a, group, "moran", "1", m->moran, m->nmodule, 0, 0);
    if (m->nlocal > 0) {
        put_kernels(a, group, m, f->ny, f->nx);
    }
    analyze_attr(a, group, "localised", m->nlocal);
    analyze_attr(a, group, "residual", m->residual);
    analyze_attr(a, group, "perturbations_kept", m->kept);
    for (int i = 0, used = 0; i < m->nmodule && i < 2 * SHOWN; i++) {
        used += snprintf(line + used, sizeof line - (size_t)used, " %.2f", m->moran[i]);
    }
    log_say(LOG_RESULT, "%-12.12s STNMF: %d of %d modules are local; Moran's I%s; residual %.6g", strrchr(f->group, '/') + 1, m->nlocal, m->nmodule,
            line, m->residual);
    memory_free(group);
}

void analyze_stnmf(analysis *a, const cell_filter *filters)
{
    const recording *r = a->r;
    if (!a->set.stnmf) {
        return;
    }
    stnmf_result **all = MEMORY_NEW(stnmf_result *, r->ncell);
    for (int64_t c = 0; c < r->ncell; c++) {
        recording_rows rows = analyze_rows(a, &filters[c], false);
        int width = recording_width(&rows);
        if (filters[c].nspike <= 0) {
            continue;
        }
        double *moments = MEMORY_NEW(double, recording_nmoment(width));
        recording_moments(&rows, RECORDING_TRAIN, r->count + c * r->nstep, moments);
        if (c % comm_size() == comm_rank()) {
            all[c] = stnmf_run(&a->stnmf, filters[c].ny, filters[c].nx, moments + 1 + width, moments + 1, moments[0], c);
        }
        memory_free(moments);
    }
    share_modules(a, all, filters);
    for (int64_t c = 0; c < r->ncell; c++) {
        if (all[c]) {
            put_modules(a, &filters[c], all[c]);
            stnmf_destroy(all[c]);
        }
    }
    memory_free(all);
}

/* --- tuning --------------------------------------------------------------------------------------------------------- */
void analyze_tuning(analysis *a, const cell_filter *f)
{
    if (!a->set.tuning) {
        return;
    }
    const recording *r = a->r;
    tuning_curve *c = tuning_measure(&a->tuning, a->parts->set.step_s, r->nstep, r->count + f->cell * r->nstep);
    char *group = memory_text("%s/tuning", f->group);
    store_define_group(a->file, group);
    analyze_put(a, group, "value", "1", a->tuning.value, c->n, 0, 0);
    analyze_put(a, group, "f0", "Hz", c->f0, c->n, 0, 0);
    analyze_put(a, group, "f1", "Hz", c->f1, c->n, 0, 0);
    analyze_attr(a, group, "best", c->best);
    analyze_attr(a, group, "osi", c->osi);
    analyze_attr(a, group, "dsi", c->dsi);
    analyze_attr(a, group, "f1_f0", c->ratio);
    log_say(LOG_RESULT, "  tuning: best %g, OSI %.4f, DSI %.4f, F1/F0 %.3f", c->best, c->osi, c->dsi, c->ratio);
    tuning_destroy(c);
    memory_free(group);
}
