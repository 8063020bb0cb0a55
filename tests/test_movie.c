/* test_movie.c - frames by number in any order, luma of both ranges, times, truncated files. */
#include "base/base.h"
#include "input/movie.h"
#include "test.h"
#include <unistd.h>

static char folder[] = "/tmp/chiasm_movieXXXXXX";
static char why[256];

static void make(const char *command)
{
    char line[512];
    snprintf(line, sizeof line, "ffmpeg -v error -y %s", command);
    CHECK(system(line) == 0);
}

/* Grey levels drawn as RGB must come back through limited and full range, Rec.601 and Rec.709, 8 and 10 bits. */
static void luma(void)
{
    CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
    static const char *const kinds[] = {
        "-pix_fmt yuv420p -c:v ffv1 -color_range tv", "-vf scale=out_range=pc -pix_fmt yuv420p -c:v ffv1 -color_range pc",
        "-pix_fmt gray -c:v ffv1", "-pix_fmt bgr0 -c:v ffv1",
        "-vf scale=out_color_matrix=bt709:out_range=tv -pix_fmt yuv420p -colorspace bt709 -color_range tv -c:v libx264 -qp 0",
        "-pix_fmt yuv420p10le -c:v ffv1",
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char command[400];
        snprintf(command, sizeof command, "-f lavfi -i color=c=0x404040:size=32x16:rate=10:duration=0.3 %s grey.mkv", kinds[i]);
        make(command);
        movie *m = movie_open("grey.mkv", why, sizeof why);
        CHECK(m != NULL);
        real v[16 * 32] = {0};
        CHECK(m && movie_read(m, 1, v, why, sizeof why));
        CHECK_NEAR(v[100], 64 / 255.0, 1.5 / 219, "8-bit video rounds to a level, and swscale's conversion to another");
        movie_close(m);
    }
}

/* H.264 with B frames: whatever the order of asking, the same frames; each differs from the next. */
static void any_order(void)
{
    make("-f lavfi -i testsrc2=size=96x64:rate=25:duration=2 -c:v libx264 -g 12 -bf 2 -pix_fmt yuv420p a.mp4");
    movie *m = movie_open("a.mp4", why, sizeof why);
    CHECK(m && movie_look(m).nframe == 50);
    if (!m) {
        return;
    }
    CHECK_NEAR(movie_look(m).duration_s, 2, 1e-9, "time stamps of a regular film");
    static real all[50][64 * 96], one[64 * 96];
    for (int i = 0; i < 50; i++) {
        CHECK(movie_read(m, i, all[i], why, sizeof why));
        CHECK(i == 0 || memcmp(all[i], all[i - 1], sizeof one) != 0);
        CHECK(movie_frame_at(m, i / 25.0) == i && movie_frame_at(m, i / 25.0 + 0.039) == i);
    }
    CHECK(movie_frame_at(m, 9) == 49);
    static const int order[] = {49, 0, 13, 12, 11, 24, 25, 48, 47, 3, 3, 36};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        CHECK(movie_read(m, order[i], one, why, sizeof why));
        CHECK(memcmp(one, all[order[i]], sizeof one) == 0);
    }
    movie_close(m);
}

static void damaged(void)
{
    CHECK(system("head -c 6000 a.mp4 > cut.mp4; ffmpeg -v error -y -i a.mp4 -c copy -movflags faststart b.mp4; "
                 "head -c $(($(stat -c %s b.mp4) * 2 / 3)) b.mp4 > cut2.mp4; ffmpeg -v error -y -i a.mp4 -c copy b.mkv; "
                 "head -c $(($(stat -c %s b.mkv) / 3)) b.mkv > cut.mkv; echo text > text.mp4") == 0);
    static const char *const bad[] = {"cut.mp4", "cut2.mp4", "cut.mkv", "text.mp4", "missing.mp4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        why[0] = 0;
        movie *m = movie_open(bad[i], why, sizeof why);
        CHECK(m == NULL && why[0] != 0);
        printf("\n    %s: %s", bad[i], why);
        movie_close(m);
    }
    char line[64];
    snprintf(line, sizeof line, "rm -r %s", folder);
    CHECK(system(line) == 0);
}

TEST_MAIN("movie", {"luma", luma}, {"any order", any_order}, {"damaged", damaged})
