/* gpu_device.h - which GPU each rank drives.  One rank drives one device: its number on the node, modulo the devices it sees. */
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H
#include <stddef.h>

/* What a rank knows of its device. */
typedef struct gpu_seat {
    char host[64], name[64];
    unsigned char uuid[16];
    int number, visible; /* device of those this rank sees */
    int major, minor;    /* compute capability */
    size_t bytes;
} gpu_seat;

typedef struct gpu_seats {
    int nrank, rank;
    gpu_seat *seat; /* [rank] */
} gpu_seats;

gpu_seats *gpu_seats_take(void); /* collective once MPI has started: takes the device, and asks the others for theirs */
void gpu_seats_destroy(gpu_seats *s);
int gpu_seats_sharers(const gpu_seats *s, int rank); /* ranks on the device of this one, itself among them */
void gpu_seats_say(const gpu_seats *s);              /* a line a node, a warning for shared devices */
#endif
