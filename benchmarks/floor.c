/* The floor of the density benchmark: what a session costs a client that is written in C.
 *
 *     floor --url ws://127.0.0.1:PORT/ --sessions N --seconds S
 *
 * It does the work of the other clients with one epoll and one timer: the handshake, client-ready
 * and bot-ready, 50 frames of audio a second to the bot, with fresh masks, and the bot's frames
 * parsed down to the fields of their protobuf. It prints "ready" when all sessions stream, begins
 * to measure at a line on its standard input, and prints a line of JSON S seconds later. It is gone
 * at the end of its standard input.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BEAT 0.020 /* seconds between two frames */
#define SLOTS 20   /* phases of the sessions in a beat */
#define PCM 640    /* bytes in a frame: 20 ms at 16 kHz */

typedef struct {
    int fd;
    uint8_t *in, *out;
    size_t in_size, in_room, out_size;
} Session;

static Session *sessions;
static int number;
static uint64_t sent, received, pcm_bytes;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_utime.tv_usec / 1e6 + used.ru_stime.tv_sec +
           used.ru_stime.tv_usec / 1e6;
}

static long resident_kib(void) {
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
    if (status) fclose(status);
    return kib;
}

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t fresh_mask(void) {
    static uint32_t masks[1024];
    static size_t left;
    if (!left) {
        if (getrandom(masks, sizeof masks, 0) != sizeof masks) die("getrandom");
        left = 1024;
    }
    return masks[--left];
}

/* -- sending ------------------------------------------------------------------------------ */

static uint8_t *put_field(uint8_t *at, uint8_t tag, uint32_t value) {
    for (*at++ = tag; value > 127; value >>= 7) *at++ = 0x80 | value;
    *at++ = value;
    return at;
}

/* The parts of a protobuf frame that are the same each time. */
static size_t encode(uint8_t *into, const uint8_t *pcm) {
    uint8_t *at = put_field(put_field(into, 0x12, PCM + 8), 0x1A, PCM);
    memcpy(at, pcm, PCM);
    return put_field(put_field(at + PCM, 0x20, 16000), 0x28, 1) - into;
}

static size_t mask_message(uint8_t *message, const uint8_t *payload, size_t size) {
    uint32_t mask = fresh_mask();
    uint64_t wide = (uint64_t)mask << 32 | mask, word;
    message[0] = 0x82;
    message[1] = 0x80 | 126;
    message[2] = size >> 8;
    message[3] = size;
    memcpy(message + 4, &mask, 4);
    size_t done = 0;
    for (; done + 8 <= size; done += 8) {
        memcpy(&word, payload + done, 8);
        word ^= wide;
        memcpy(message + 8 + done, &word, 8);
    }
    for (; done < size; done++) message[8 + done] = payload[done] ^ message[4 + done % 4];
    return 8 + size;
}

static void send_frame(Session *session, const uint8_t *pcm) {
    uint8_t frame[PCM + 32], message[PCM + 64];
    size_t frame_size = encode(frame, pcm);
    if (session->out_size) {
        ssize_t done = send(session->fd, session->out, session->out_size, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN) die("send");
        if (done > 0) {
            session->out_size -= done;
            memmove(session->out, session->out + done, session->out_size);
        }
        if (session->out_size) return;
    }
    size_t size = mask_message(message, frame, frame_size);
    ssize_t done = send(session->fd, message, size, MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN) die("send");
    if (done < 0) return;
    sent++;
    if ((size_t)done < size) {
        if (!session->out) session->out = malloc(sizeof message);
        session->out_size = size - done;
        memcpy(session->out, message + done, session->out_size);
    }
}

/* -- receiving ---------------------------------------------------------------------------- */

static const uint8_t *take_number(const uint8_t *at, const uint8_t *end, uint64_t *value) {
    *value = 0;
    for (int shift = 0; at < end && shift < 64; shift += 7) {
        *value |= (uint64_t)(*at & 127) << shift;
        if (!(*at++ & 128)) return at;
    }
    die("a bad number");
    return end;
}

/* Walk through the fields of a frame, and count the sound in it. */
static void decode(const uint8_t *at, const uint8_t *end) {
    uint64_t tag, value;
    bool inside = false;
    while (at < end) {
        at = take_number(at, end, &tag);
        at = take_number(at, end, &value);
        if ((tag & 7) != 2) continue;
        if (!inside) {
            if (tag >> 3 != 2) return; /* a message */
            inside = true;
            continue;
        }
        if (value > (uint64_t)(end - at)) die("a bad length");
        if (tag >> 3 == 3) {
            received++;
            pcm_bytes += value;
        }
        at += value;
    }
}

static void receive(Session *session) {
    static uint8_t buffer[1 << 16];
    uint8_t *data = buffer;
    ssize_t got = recv(session->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("recv");
    size_t size = got, taken = 0;
    if (session->in_size) {
        if (session->in_size + size > session->in_room) {
            session->in_room = session->in_size + size;
            session->in = realloc(session->in, session->in_room);
        }
        memcpy(session->in + session->in_size, buffer, size);
        data = session->in;
        size += session->in_size;
    }
    while (size - taken >= 4) {
        const uint8_t *head = data + taken;
        size_t length = head[1] & 127, start = 2;
        if (length == 126) {
            length = head[2] << 8 | head[3];
            start = 4;
        }
        if (length == 127 || head[1] & 128) die("a bad frame");
        if (size - taken < start + length) break;
        if ((head[0] & 15) == 2) decode(head + start, head + start + length);
        taken += start + length;
    }
    size -= taken;
    if (size > session->in_room) {
        session->in = realloc(session->in, size);
        session->in_room = size;
    }
    if (size) memmove(session->in, data + taken, size);
    session->in_size = size;
}

/* -- opening ------------------------------------------------------------------------------ */

/* Read until what was read holds `wanted`. */
static void await_text(int fd, const char *wanted) {
    char text[4096];
    size_t size = 0;
    while (!memmem(text, size, wanted, strlen(wanted))) {
        ssize_t got = recv(fd, text + size, sizeof text - size, 0);
        if (got <= 0) die("the handshake");
        size += got;
    }
}

static void open_session(Session *session, int port) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    static const char hello[] = "{\"label\":\"rtvi-ai\",\"type\":\"client-ready\",\"id\":\"1\","
                                "\"data\":{\"version\":\"2.2.0\",\"about\":{\"library\":\"floor\"}}}";
    uint8_t payload[256], message[300];
    struct sockaddr_in address = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    int yes = 1, fd = session->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) die("send");
    await_text(fd, "\r\n\r\n");
    size_t size = strlen(hello);
    uint8_t *at = put_field(put_field(payload, 0x22, size + (size < 128 ? 2 : 3)), 0x0A, size);
    memcpy(at, hello, size);
    size = mask_message(message, payload, at + size - payload);
    if (send(fd, message, size, MSG_NOSIGNAL) < 0) die("send");
    await_text(fd, "bot-ready");
}

int main(int count, char **arguments) {
    int port = 0;
    double seconds = 0;
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(arguments[i], "--url")) sscanf(arguments[i + 1], "ws://127.0.0.1:%d", &port);
        if (!strcmp(arguments[i], "--sessions")) number = atoi(arguments[i + 1]);
        if (!strcmp(arguments[i], "--seconds")) seconds = atof(arguments[i + 1]);
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    uint8_t pcm[PCM];
    for (int i = 0; i < PCM; i++) pcm[i] = (i * 2654435761u) >> 24;
    setvbuf(stdout, NULL, _IOLBF, 0);

    int poller = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec beat = {{0, BEAT / SLOTS * 1e9}, {0, 1}};
    Session standard_input = {.fd = 0}, ticker = {.fd = timer}, *others[] = {&standard_input, &ticker};
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = others[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, others[i]->fd, &event);
    }
    sessions = calloc(number, sizeof *sessions);
    for (int i = 0; i < number; i++) {
        open_session(&sessions[i], port);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &sessions[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, sessions[i].fd, &event);
    }
    timerfd_settime(timer, 0, &beat, NULL);
    puts("ready");

    double due = now(), began = 0, used = 0;
    uint64_t slot = 0, sent_before = 0, received_before = 0;
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            Session *session = events[i].data.ptr;
            if (session == &standard_input) {
                char line[64];
                if (read(0, line, sizeof line) <= 0) return 0;
                began = now(), used = cpu(), sent_before = sent, received_before = received;
            } else if (session == &ticker) {
                uint64_t beats;
                if (read(timer, &beats, sizeof beats) < 0) continue;
                for (double at = now(); due <= at; due += BEAT / SLOTS, slot++)
                    for (int j = slot % SLOTS; j < number; j += SLOTS) send_frame(&sessions[j], pcm);
            } else {
                receive(session);
            }
        }
        double wall = now() - began;
        if (began && wall >= seconds) {
            printf("{\"cpu\": %.4f, \"wall\": %.4f, \"rss_kib\": %ld, \"sent\": %lu, "
                   "\"received\": %lu}\n",
                   cpu() - used, wall, resident_kib(), sent - sent_before,
                   received - received_before);
            began = 0;
        }
    }
}
