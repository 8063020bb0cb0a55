/* simulate.c - the loop, and all the ways to leave it. */
#include "run/simulate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "cluster/store.h"
#include "run/restart.h"

enum { SENT_TILES = 8 };                /* leaves of which the stimulus is made before they are sent: work enough for many threads */
static const double LOOK_EVERY_S = 1;   /* stop file, values that are not finite */
static const double FLUSH_EVERY_S = 30; /* so that a kill leaves a readable result up to half a minute ago */

/* Where the loop stands. */
typedef struct loop {
    const simulation *s;
    int64_t step, first;
    int64_t shown; /* the stimulus stands there for the chunk that ends before this step */
    int nt;        /* steps of the last chunk */
    real *frames;  /* stimulus of leaves_at_once on the host, frame_room each, for backends with memory of their own */
    char *stop_file;
    double began, looked, flushed, saved; /* log_clock() */
    double chunk_s, save_s;               /* longest so far: the room to leave before the deadline */
    bool stop_file_seen;
    enum exit_code trouble; /* EXIT_DONE: none on this rank */
    char *trouble_text;
} loop;

/* What ranks agree on after each chunk, by one maximum. */
enum { VOTE_FLUSH, VOTE_SAVE, VOTE_STOP, VOTE_TROUBLE, VOTE_COUNT };

enum ending { COMPLETE, STOPPED, GIVEN_UP };

static bool is_cpu(const backend *be)
{
    return strcmp(be->ops->name, "cpu") == 0;
}

/* The frames of one leaf as a view holds them; none on the CPU, where the stimulus is rendered in place. */
static int64_t frame_room(model *m, const backend *be)
{
    return is_cpu(be) ? 0 : model_chunk_steps(m) * model_stimulus(m).frame_stride;
}

/* Leaves whose stimulus is made with one call. */
static int leaves_at_once(int nleaf, const backend *be)
{
    return is_cpu(be) || nleaf < SENT_TILES ? nleaf : SENT_TILES;
}

/* --- one chunk ---------------------------------------------------------------------------------------------------- */

/* One tile, with the strides of its view. */
static stimulus_rect rect_of(const simulation *s, view v, real *frames)
{
    const grid_tile *t = v.tile;
    return (stimulus_rect){s->crop_y + t->y0, s->crop_x + t->x0, t->ny, t->nx, frames, v.frame_stride, v.row_stride};
}

/* The stimulus of all tiles.  Elsewhere than on the CPU each is rendered on the host and sent in one piece; the halos between its rows are
 * filled from the neighbours afterwards (model_forward). */
static void show_tiles(const loop *l, int64_t step, int nt)
{
    const simulation *s = l->s;
    view v = model_stimulus(s->m);
    bool in_place = is_cpu(s->be);
    int most = leaves_at_once(v.nleaf, s->be);
    stimulus_rect *rect = MEMORY_NEW(stimulus_rect, most);
    for (int first = 0, n; first < v.nleaf; first += n) {
        n = v.nleaf - first < most ? v.nleaf - first : most;
        for (int i = 0; i < n; i++) {
            view one = view_of_leaf(v, first + i, 1);
            rect[i] = rect_of(s, one, in_place ? host(one.at) : l->frames + i * frame_room(s->m, s->be));
        }
        stimulus_render_all(s->stim, step, nt, rect, n);
        for (int i = 0; i < n && !in_place; i++) {
            const stimulus_rect *r = &rect[i];
            int64_t nreal = (nt - 1) * r->frame_stride + (r->ny - 1) * r->row_stride + r->nx;
            s->be->ops->upload(s->be, view_of_leaf(v, first + i, 1).at, r->frames, nreal);
        }
    }
    memory_free(rect);
}

static int chunk_steps(const simulation *s, int64_t step)
{
    int64_t left = s->nstep - step;
    return left < model_chunk_steps(s->m) ? (int)left : model_chunk_steps(s->m);
}

/* The stimulus of the chunk at `step`, if it is not there yet. */
static void show(loop *l, int64_t step)
{
    int nt = chunk_steps(l->s, step);
    if (nt > 0 && l->shown < step + nt) {
        log_phase(PHASE_STIMULUS);
        show_tiles(l, step, nt);
        l->shown = step + nt;
    }
}

/* The ranks leave together, in good order, once they have voted. */
static void look_for_infinities(loop *l)
{
    const char *stage = l->trouble == EXIT_DONE ? model_not_finite(l->s->m, l->nt) : NULL;
    if (stage) {
        l->trouble = EXIT_DIVERGED;
        l->trouble_text = memory_text("stage '%s' has a value that is not finite, by step %lld (%.6g s); look at its gains, and at run.step "
                                      "against its time constants",
                                      stage, (long long)(l->step - 1), (double)(l->step - 1) * l->s->step_s);
    }
}

static void look_for_broken_frames(loop *l)
{
    const char *broken = stimulus_broken(l->s->stim);
    if (broken && l->trouble == EXIT_DONE) {
        l->trouble = EXIT_BAD_INPUT;
        l->trouble_text = memory_text("%s", broken);
    }
}

/* Returns whether a flush is due.  While a device computes, the host makes the stimulus of the next chunk, and the frames of this one come back. */
static bool compute_chunk(loop *l)
{
    const simulation *s = l->s;
    double start = log_clock();
    l->nt = chunk_steps(s, l->step);
    show(l, l->step); /* the first */
    look_for_broken_frames(l);
    log_phase(PHASE_COMPUTE);
    model_queue(s->m, l->step, l->nt);
    record_take(s->rec, s->m, l->step, l->nt);
    l->step += l->nt;
    show(l, l->step);
    log_phase(PHASE_COMPUTE);
    s->be->ops->sync(s->be);
    bool full = record_take_spikes(s->rec, s->m);
    double now = log_clock();
    if (full || l->step == s->nstep || now - l->looked > LOOK_EVERY_S) {
        look_for_infinities(l);
        l->looked = now;
        l->stop_file_seen = comm_rank() == 0 && access(l->stop_file, F_OK) == 0;
    }
    l->chunk_s = now - start > l->chunk_s ? now - start : l->chunk_s;
    return full;
}

/* Clocks of rank 0 only: no rank may decide alone. */
static void vote(loop *l, bool full, double votes[VOTE_COUNT])
{
    const simulation *s = l->s;
    double now = log_clock();
    bool first = comm_rank() == 0;
    bool late = s->deadline_s > 0 && now + l->chunk_s + l->save_s > s->deadline_s;
    votes[VOTE_FLUSH] = full || (first && now - l->flushed > FLUSH_EVERY_S);
    votes[VOTE_SAVE] = first && s->restart_every_s > 0 && now - l->saved > s->restart_every_s;
    votes[VOTE_TROUBLE] = l->trouble;
    votes[VOTE_STOP] = comm_signal_seen() || (first && (late || l->stop_file_seen));
    log_phase(PHASE_OTHER); /* waiting for the slowest */
    comm_max_double(votes, VOTE_COUNT);
}

/* --- result and restart ------------------------------------------------------------------------------------------- */

static void flush(loop *l)
{
    log_phase(PHASE_OUTPUT);
    record_flush(l->s->rec);
    l->flushed = log_clock();
}

/* False, and nothing saved, when a rank is in trouble: its state would be worth nothing. */
static bool save(loop *l)
{
    double start = log_clock();
    look_for_infinities(l);
    if (comm_any(l->trouble != EXIT_DONE)) {
        return false;
    }
    flush(l);
    log_phase(PHASE_RESTART);
    restart_point p = {l->step, record_nposition(l->s->rec), NULL};
    p.position = MEMORY_NEW(int64_t, p.nposition);
    record_position(l->s->rec, p.position);
    restart_save(l->s->result, l->s->input_effective, l->s->m, &p);
    memory_free(p.position);
    l->saved = log_clock();
    l->save_s = l->saved - start;
    log_say(LOG_DETAIL, "restart file of step %lld written in %.2f s", (long long)l->step, l->save_s);
    return true;
}

/* A complete result of this very input: a job script that always says --resume has nothing left to do. */
static bool is_complete(const simulation *s)
{
    bool complete = false;
    const char *why;
    store *result =
        s->resume && !restart_exists(s->result) && comm_rank() == 0 && access(s->result, R_OK) == 0 ? store_open_read(s->result, &why) : NULL;
    if (result) {
        char *then = store_read_text(result, "/provenance/input"), *differ = then ? restart_differences(then, s->input_effective) : NULL;
        complete = then && !differ;
        memory_free(then);
        memory_free(differ);
        store_close_read(result);
    }
    return comm_any(complete);
}

/* Opens the result, at the start or where an interrupted run was. */
static enum exit_code begin(loop *l)
{
    const simulation *s = l->s;
    if (!s->resume && !s->overwrite && restart_exists(s->result)) {
        if (comm_rank() == 0) {
            fprintf(stderr, "chiasm: error: %s.restart of an interrupted run is there; --resume goes on with it, --overwrite starts again\n",
                    s->result);
        }
        return EXIT_NO_OUTPUT;
    }
    if (is_complete(s)) {
        log_say(LOG_PROGRESS, "%s is complete; nothing to resume", s->result);
        l->first = l->step = s->nstep;
        return EXIT_DONE;
    }
    if (!s->resume && !s->overwrite && comm_any(comm_rank() == 0 && access(s->result, F_OK) == 0)) {
        if (comm_rank() == 0) {
            fprintf(stderr, "chiasm: error: result '%s' exists already; choose another --out or give --overwrite\n", s->result);
        }
        return EXIT_NO_OUTPUT;
    }
    restart_point p = {0, record_nposition(s->rec), NULL};
    p.position = MEMORY_NEW(int64_t, p.nposition);
    enum restart_found found = s->resume ? restart_load(s->result, s->input_effective, s->m, &p) : RESTART_NONE;
    if (found == RESTART_LOADED) {
        record_resume(s->rec, s->result, p.position);
        l->first = l->step = p.step;
        log_say(LOG_PROGRESS, "goes on at step %lld (%.6g s)", (long long)p.step, (double)p.step * s->step_s);
    } else if (found == RESTART_NONE) {
        if (s->resume) {
            log_say(LOG_PROGRESS, "nothing to resume: no restart file of %s; starting at the beginning", s->result);
        }
        record_open(s->rec, s->result, s->overwrite);
        restart_remove(s->result);
    }
    memory_free(p.position);
    return found == RESTART_REFUSED ? EXIT_BAD_INPUT : EXIT_DONE;
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void duration_text(double s, char *text, size_t size)
{
    int64_t whole = (int64_t)(s + 0.5);
    if (whole < 3600) {
        snprintf(text, size, "%lld:%02lld", (long long)(whole / 60), (long long)(whole % 60));
    } else {
        snprintf(text, size, "%lld:%02lld:%02lld", (long long)(whole / 3600), (long long)(whole / 60 % 60), (long long)(whole % 60));
    }
}

static void show_progress(const loop *l)
{
    const simulation *s = l->s;
    double wall_s = log_clock() - l->began, simulated_s = (double)(l->step - l->first) * s->step_s;
    double rate = wall_s > 0 ? simulated_s / wall_s : 0;
    char left[32] = "?";
    if (rate > 0) {
        duration_text((double)(s->nstep - l->step) * s->step_s / rate, left, sizeof left);
    }
    log_progress("%5.1f %%  %.3f of %.3f s  %.3g x real time  %s left", 100.0 * (double)l->step / (double)s->nstep, (double)l->step * s->step_s,
                 (double)s->nstep * s->step_s, rate, left);
}

/* Returns whether it came to the end, was stopped before, or has to be given up. */
static enum ending run_chunks(loop *l)
{
    while (l->step < l->s->nstep) {
        bool full = compute_chunk(l);
        double votes[VOTE_COUNT];
        vote(l, full, votes);
        if (votes[VOTE_TROUBLE] > 0) {
            return GIVEN_UP;
        }
        if (l->step == l->s->nstep) {
            break;
        }
        if (votes[VOTE_STOP] > 0 || votes[VOTE_SAVE] > 0) {
            if (!save(l)) {
                return GIVEN_UP;
            }
            if (votes[VOTE_STOP] > 0) {
                return STOPPED;
            }
        } else if (votes[VOTE_FLUSH] > 0) {
            flush(l);
        }
        show_progress(l);
    }
    flush(l);
    return COMPLETE;
}

/* The first rank in the worst trouble says what it is.  What an earlier restart file can go on with stays. */
static void give_up(const loop *l, simulate_done *done)
{
    double code = l->trouble;
    comm_max_double(&code, 1);
    double speaker = l->trouble == (enum exit_code)code ? comm_rank() : comm_size();
    comm_min_double(&speaker, 1);
    if (comm_rank() == (int)speaker) {
        fprintf(stderr, "chiasm: error: %s\n", l->trouble_text);
    }
    if (restart_exists(l->s->result)) {
        record_abandon(l->s->rec);
    } else {
        record_discard(l->s->rec);
    }
    done->code = (enum exit_code)code;
}

static void finish(loop *l, enum ending ending, simulate_done *done)
{
    const simulation *s = l->s;
    log_progress_end();
    if (ending == GIVEN_UP) {
        give_up(l, done);
        return;
    }
    if (ending == COMPLETE) {
        log_phase(PHASE_OUTPUT);
        record_close(s->rec, done->wall_s);
        restart_remove(s->result);
        return;
    }
    record_abandon(s->rec);
    if (comm_rank() == 0) {
        remove(l->stop_file);
    }
    done->code = EXIT_STOPPED;
    log_say(LOG_RESULT, "stopped at step %lld of %lld (%.6g s); the same command with --resume goes on", (long long)l->step, (long long)s->nstep,
            (double)l->step * s->step_s);
}

simulate_done simulate_run(const simulation *s)
{
    simulate_done done = {.code = EXIT_DONE};
    loop l = {.s = s, .stop_file = memory_text("%s.stop", s->result)};
    log_phase(PHASE_INIT);
    if (comm_rank() == 0) {
        remove(l.stop_file); /* of an earlier run */
    }
    done.code = begin(&l);
    if (done.code == EXIT_DONE && l.step < s->nstep) {
        l.frames = MEMORY_NEW(real, leaves_at_once(model_nleaf(s->m), s->be) * frame_room(s->m, s->be));
        l.began = l.looked = l.flushed = l.saved = log_clock();
        enum ending ending = run_chunks(&l);
        done.wall_s = log_clock() - l.began;
        done.first = l.first;
        done.steps = l.step - l.first;
        finish(&l, ending, &done);
        memory_free(l.frames);
    }
    log_phase(PHASE_OTHER);
    memory_free(l.stop_file);
    memory_free(l.trouble_text);
    return done;
}
