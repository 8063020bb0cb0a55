/* movie.c - frames are numbered by their times, so that seeking and reading on give the same ones. */
#include "input/movie.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/cpu.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { WORK_FRAMES = 3, MOST_THREADS = 4 };

typedef struct movie_packet {
    int64_t pts;
    bool key;
} movie_packet;

struct movie {
    AVFormatContext *format;
    AVCodecContext *codec;
    AVFrame *frame;
    AVPacket *packet;
    struct SwsContext *rgb; /* NULL until needed */
    uint16_t *rgb_pixels;
    movie_packet *frames; /* [nframe] in order of time */
    int64_t nframe, nroom;
    int64_t next;      /* frame the decoder gives next, if all goes well; -1: it must seek first */
    bool drained;
    int stream;
    double tick_s, last_s; /* duration of a time stamp's unit and of the last frame */
    bool full_range, luma_plane;
    int matrix;
};

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const movie_packet *)a)->pts, y = ((const movie_packet *)b)->pts;
    return (x > y) - (x < y);
}

static const char *av_text(int error)
{
    static char text[128];
    av_strerror(error, text, sizeof text);
    return text;
}

/* Lists every frame's time.  A file cut short shows by a damaged packet, by fewer frames than its header counts, or by a shorter time. */
static bool list_frames(movie *m, char *why, size_t size)
{
    AVStream *st = m->format->streams[m->stream];
    int64_t last_duration = 0, last_pts = INT64_MIN;
    int error;
    while ((error = av_read_frame(m->format, m->packet)) >= 0) {
        AVPacket *k = m->packet;
        bool damaged = k->stream_index == m->stream && (k->flags & AV_PKT_FLAG_CORRUPT);
        if (k->stream_index == m->stream && !damaged && !(k->flags & AV_PKT_FLAG_DISCARD)) {
            int64_t pts = k->pts != AV_NOPTS_VALUE ? k->pts : k->dts;
            if (pts == AV_NOPTS_VALUE) {
                snprintf(why, size, "its frames carry no times; copy it into a container: ffmpeg -i FILE -c copy OUT.mkv");
                av_packet_unref(k);
                return false;
            }
            if (m->nframe == m->nroom) {
                m->nroom = 2 * m->nroom + 256;
                m->frames = memory_grow(m->frames, (size_t)m->nroom, sizeof *m->frames);
            }
            m->frames[m->nframe++] = (movie_packet){pts, (k->flags & AV_PKT_FLAG_KEY) != 0};
            last_duration = pts >= last_pts ? k->duration : last_duration;
            last_pts = pts >= last_pts ? pts : last_pts;
        }
        av_packet_unref(k);
        if (damaged) {
            snprintf(why, size, "truncated or damaged at frame %lld", (long long)m->nframe);
            return false;
        }
    }
    if (error != AVERROR_EOF || (m->format->pb && m->format->pb->error < 0)) {
        snprintf(why, size, "cannot be read beyond frame %lld: %s", (long long)m->nframe, av_text(error));
        return false;
    }
    if (m->nframe == 0) {
        snprintf(why, size, "has no frame");
        return false;
    }
    qsort(m->frames, (size_t)m->nframe, sizeof *m->frames, by_time);
    m->tick_s = av_q2d(st->time_base);
    double rate = av_q2d(st->avg_frame_rate);
    m->last_s = last_duration > 0 ? (double)last_duration * m->tick_s : rate > 0 ? 1 / rate : 0.04;
    double have_s = (double)(last_pts - m->frames[0].pts) * m->tick_s + m->last_s;
    double stated_s = st->duration != AV_NOPTS_VALUE ? (double)st->duration * m->tick_s : 0;
    bool alone = m->format->nb_streams == 1 && m->format->duration > 0;
    stated_s = alone && (double)m->format->duration / AV_TIME_BASE > stated_s ? (double)m->format->duration / AV_TIME_BASE : stated_s;
    if (m->nframe < st->nb_frames - 1 || have_s < 0.98 * stated_s - 1) {
        snprintf(why, size, "truncated: it ends after frame %lld at %.4g s; its header states %.4g s", (long long)m->nframe, have_s,
                 stated_s > 0 ? stated_s : (double)st->nb_frames * m->last_s);
        return false;
    }
    return true;
}

/* Rec.709 video (and grey) has the luma wanted in its Y plane, 8 bits a pixel; all else goes through RGB. */
static void look_at_pixels(movie *m)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(m->codec->pix_fmt);
    bool yuvj = m->codec->pix_fmt == AV_PIX_FMT_YUVJ420P || m->codec->pix_fmt == AV_PIX_FMT_YUVJ422P || m->codec->pix_fmt == AV_PIX_FMT_YUVJ444P;
    bool rgb = d && (d->flags & AV_PIX_FMT_FLAG_RGB), grey = d && d->nb_components <= 2;
    bool rec709 = m->codec->colorspace == AVCOL_SPC_BT709 || (m->codec->colorspace == AVCOL_SPC_UNSPECIFIED && m->codec->height >= 720 && !yuvj);
    bool plain = d && d->comp[0].depth == 8 && d->comp[0].step == 1 && d->comp[0].plane == 0 && !(d->flags & AV_PIX_FMT_FLAG_PAL);
    m->full_range = m->codec->color_range == AVCOL_RANGE_JPEG || yuvj || rgb || (grey && m->codec->color_range != AVCOL_RANGE_MPEG);
    m->luma_plane = plain && !rgb && (grey || rec709);
    m->matrix = m->codec->colorspace == AVCOL_SPC_UNSPECIFIED ? (rec709 ? SWS_CS_ITU709 : SWS_CS_ITU601) : (int)m->codec->colorspace;
}

static bool open_decoder(movie *m, char *why, size_t size)
{
    const AVCodec *decoder = NULL;
    m->stream = av_find_best_stream(m->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (m->stream < 0 || !decoder) {
        snprintf(why, size, "has no video that can be decoded");
        return false;
    }
    for (unsigned i = 0; i < m->format->nb_streams; i++) {
        m->format->streams[i]->discard = (int)i == m->stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    }
    m->codec = avcodec_alloc_context3(decoder);
    int cores = av_cpu_count(); /* this process may use, as its launcher bound it */
    m->codec->thread_count = cores < MOST_THREADS ? cores : MOST_THREADS;
    int error = avcodec_parameters_to_context(m->codec, m->format->streams[m->stream]->codecpar);
    error = error < 0 ? error : avcodec_open2(m->codec, decoder, NULL);
    if (error < 0 || m->codec->width <= 0 || m->codec->height <= 0 || m->codec->pix_fmt == AV_PIX_FMT_NONE) {
        snprintf(why, size, "its decoder cannot be opened or finds no picture: %s", error < 0 ? av_text(error) : "no size");
        return false;
    }
    return true;
}

movie *movie_open(const char *path, char *why, size_t size)
{
    movie *m = MEMORY_NEW(movie, 1);
    m->next = -1;
    m->frame = av_frame_alloc();
    m->packet = av_packet_alloc();
    av_log_set_level(AV_LOG_QUIET);
    int error = avformat_open_input(&m->format, path, NULL, NULL);
    error = error < 0 ? error : avformat_find_stream_info(m->format, NULL);
    if (error < 0) {
        snprintf(why, size, "cannot be opened as a movie or picture: %s", av_text(error));
        movie_close(m);
        return NULL;
    }
    if (!open_decoder(m, why, size) || !list_frames(m, why, size)) {
        movie_close(m);
        return NULL;
    }
    look_at_pixels(m);
    return m;
}

void movie_close(movie *m)
{
    if (m) {
        sws_freeContext(m->rgb);
        avcodec_free_context(&m->codec);
        avformat_close_input(&m->format);
        av_frame_free(&m->frame);
        av_packet_free(&m->packet);
        memory_free(m->frames);
        memory_free(m->rgb_pixels);
        memory_free(m);
    }
}

/* Frames that later ones refer to or that wait for their turn, and those in work. */
static size_t decoder_bytes(const movie *m)
{
    const AVCodecContext *k = m->codec;
    int frame = av_image_get_buffer_size(k->pix_fmt, k->coded_width, k->coded_height, 64), waiting = k->refs + k->has_b_frames;
    size_t rgb = m->luma_plane ? 0 : 3 * sizeof(uint16_t) * (size_t)k->width * (size_t)k->height;
    return rgb + (frame > 0 ? (size_t)frame : 0) * (size_t)(waiting + WORK_FRAMES + k->thread_count - 1);
}

movie_info movie_look(const movie *m)
{
    double duration_s = (double)(m->frames[m->nframe - 1].pts - m->frames[0].pts) * m->tick_s + m->last_s;
    const char *pixels = av_get_pix_fmt_name(m->codec->pix_fmt);
    return (movie_info){m->codec->height, m->codec->width, m->nframe, duration_s, (double)m->nframe / duration_s, m->codec->codec->name,
                        pixels ? pixels : "unknown", m->full_range, m->luma_plane ? "Y plane" : "RGB", decoder_bytes(m)};
}

/* Last frame with a time <= pts; 0 if there is none. */
static int64_t frame_of(const movie *m, double pts)
{
    int64_t low = 0, high = m->nframe;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if ((double)m->frames[middle].pts <= pts) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

int64_t movie_frame_at(const movie *m, double t_s)
{
    return frame_of(m, (double)m->frames[0].pts + (t_s + 1e-9) / m->tick_s);
}

static bool to_luma_by_rgb(movie *m, real *luma)
{
    const AVFrame *f = m->frame;
    size_t n = (size_t)f->width * (size_t)f->height;
    if (!m->rgb) {
        m->rgb = sws_getContext(f->width, f->height, f->format, f->width, f->height, AV_PIX_FMT_RGB48,
                                SWS_POINT | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
        if (!m->rgb) {
            return false;
        }
        const int *from = sws_getCoefficients(m->matrix);
        sws_setColorspaceDetails(m->rgb, from, m->full_range, sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
        m->rgb_pixels = MEMORY_NEW(uint16_t, 3 * n + 64);
    }
    uint8_t *out[4] = {(uint8_t *)m->rgb_pixels};
    int stride[4] = {6 * f->width};
    sws_scale(m->rgb, (const uint8_t *const *)f->data, f->linesize, 0, f->height, out, stride);
    for (size_t i = 0; i < n; i++) {
        const uint16_t *v = m->rgb_pixels + 3 * i;
        luma[i] = (real)((0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]) / 65535);
    }
    return true;
}

static bool to_luma(movie *m, real *luma)
{
    const AVFrame *f = m->frame;
    if (f->width != m->codec->width || f->height != m->codec->height || f->format != m->codec->pix_fmt) {
        return false;
    }
    if (!m->luma_plane) {
        return to_luma_by_rgb(m, luma);
    }
    const real black = m->full_range ? 0 : 16, range = m->full_range ? 255 : 219;
    for (int y = 0; y < f->height; y++) {
        const uint8_t *row = f->data[0] + (ptrdiff_t)y * f->linesize[0];
        real *out = luma + (size_t)y * (size_t)f->width;
        for (int x = 0; x < f->width; x++) {
            real v = ((real)row[x] - black) / range;
            v = v < 0 ? 0 : v;
            out[x] = v > 1 ? 1 : v;
        }
    }
    return true;
}

static bool seek(movie *m, int64_t i)
{
    int64_t key = i;
    while (key > 0 && !m->frames[key].key) {
        key--;
    }
    int error = av_seek_frame(m->format, m->stream, m->frames[key].pts, AVSEEK_FLAG_BACKWARD);
    if (error < 0) {
        error = av_seek_frame(m->format, m->stream, m->frames[0].pts, AVSEEK_FLAG_BACKWARD | AVSEEK_FLAG_ANY);
    }
    avcodec_flush_buffers(m->codec);
    m->drained = false;
    return error >= 0;
}

/* Gives the decoder packets until it gives a frame; false at the end or at an error. */
static bool decode_next(movie *m, int *error)
{
    while ((*error = avcodec_receive_frame(m->codec, m->frame)) == AVERROR(EAGAIN)) {
        int got = av_read_frame(m->format, m->packet);
        if (got < 0 && m->drained) {
            return false;
        }
        m->drained = got < 0;
        if (got < 0 || m->packet->stream_index == m->stream) {
            *error = avcodec_send_packet(m->codec, got < 0 ? NULL : m->packet);
        } else {
            *error = 0;
        }
        av_packet_unref(m->packet);
        if (*error < 0) {
            return false;
        }
    }
    return *error >= 0;
}

bool movie_read(movie *m, int64_t i, real *luma, char *why, size_t size)
{
    int error = 0;
    bool behind = m->next < 0 || i < m->next;
    for (int64_t k = i; !behind && k > m->next; k--) {
        behind = m->frames[k].key; /* a key frame lies between: seeking is shorter */
    }
    if (behind && !seek(m, i)) {
        snprintf(why, size, "cannot be wound to frame %lld", (long long)i);
        return false;
    }
    m->next = -1;
    while (decode_next(m, &error)) {
        int64_t pts = m->frame->best_effort_timestamp, here = pts == AV_NOPTS_VALUE ? 0 : frame_of(m, (double)pts);
        if (here < i) {
            continue;
        }
        bool damaged = m->frame->decode_error_flags || (m->frame->flags & AV_FRAME_FLAG_CORRUPT);
        if (here > i || damaged || !to_luma(m, luma)) {
            error = AVERROR_INVALIDDATA;
            break;
        }
        m->next = i + 1;
        return true;
    }
    snprintf(why, size, "frame %lld cannot be decoded: %s", (long long)i, error < 0 ? av_text(error) : "the movie ends before it");
    return false;
}
