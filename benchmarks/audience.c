/* The bot of the density benchmark: one process, one epoll, made to be nobody's bottleneck.
 *
 * It upgrades whoever connects, on any path, and answers the first message of a session, an RTVI
 * client-ready in a protobuf frame, with bot-ready. From then on, or from a session's first audio
 * on, it sends each session 40 ms of sound every 40 ms, the sessions' phases spread evenly, and
 * notes when each of their frames comes.
 *
 * Its port is the first line it prints. It is told what to do by lines on its standard input:
 *
 *     mode MODE      of sessions to come: after-audio, at-once, or quiet (no sound is sent)
 *     burst N SIZE   send each session N frames with SIZE bytes of sound as fast as it takes them
 *     start          begin to note when frames come
 *     report         stop that, and print a line of JSON with what came of it
 *     reset          drop all connections, and print "reset"
 *
 * A frame's lateness is how long after its time it came: sessions send a frame each 20 ms, and the
 * frame that came earliest, measured by that beat, is taken for the one in time.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BEAT 0.020         /* seconds between two frames of a client */
#define PERIOD 0.040       /* seconds between two frames of ours */
#define SLOTS 80           /* phases of ours in a period */
#define SOUND 1920         /* bytes of PCM in a frame of ours: 40 ms at 24 kHz */
#define LEAST_SOUND 640    /* bytes that a client's frame has at least: 20 ms at 16 kHz */
#define FRAMES_IN_BURST 16 /* that are handed to the socket at once */
#define BUCKETS 50000      /* of a histogram, 0.1 ms each */
#define MAX_FDS 65536
#define MAX_MESSAGE (1 << 20)

enum mode { AFTER_AUDIO, AT_ONCE, QUIET };

typedef struct {
    int fd, slot, place;
    enum mode mode;
    bool upgraded, ready, gone;
    uint8_t *in, *out;
    size_t in_size, in_room, out_size, out_room;
    size_t burst_left;
    double *arrivals;
    size_t arrived, room;
} Session;

typedef struct {
    uint32_t counts[BUCKETS];
    uint64_t total;
    double max;
} Histogram;

static Session *sessions[MAX_FDS];
static Session **slots[SLOTS];
static size_t slot_sizes[SLOTS], slot_rooms[SLOTS];
static int poller, timer;
static enum mode mode = AFTER_AUDIO;
static uint8_t frame[4096], *burst;
static size_t frame_size, burst_frame_size;
static unsigned next_phase;
static double next_due;
static uint64_t next_slot;
static bool noting;
static double noting_since;
static Histogram lateness, own_lateness;
static uint64_t down_sent, down_skipped, up_received;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void *grown(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (!memory) abort();
    return memory;
}

/* -- histograms --------------------------------------------------------------------------- */

static void add(Histogram *histogram, double seconds) {
    long bucket = seconds < 0 ? 0 : (long)(seconds * 10000);
    histogram->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    histogram->total++;
    if (seconds > histogram->max) histogram->max = seconds;
}

/* In milliseconds: the upper end of the bucket. */
static double percentile(const Histogram *histogram, double percent) {
    uint64_t wanted = (uint64_t)(histogram->total * percent / 100), seen = 0;
    for (long bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen > wanted) return (bucket + 1) / 10.0;
    }
    return histogram->max * 1000;
}

/* -- the upgrade -------------------------------------------------------------------------- */

static uint32_t rotated(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

/* SHA-1 of at most 119 bytes. */
static void sha1(const char *text, size_t size, uint8_t digest[20]) {
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t blocks[128] = {0};
    size_t padded = size < 56 ? 64 : 128;
    memcpy(blocks, text, size);
    blocks[size] = 0x80;
    blocks[padded - 2] = size * 8 >> 8;
    blocks[padded - 1] = size * 8;
    for (uint8_t *block = blocks; block < blocks + padded; block += 64) {
        uint32_t words[80], s[5];
        memcpy(s, state, sizeof s);
        for (int i = 0; i < 80; i++) {
            const uint8_t *b = block + 4 * i;
            words[i] = i < 16 ? (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]
                              : rotated(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
            uint32_t mixed = i < 20   ? ((s[1] & s[2]) | (~s[1] & s[3])) + 0x5A827999
                             : i < 40 ? (s[1] ^ s[2] ^ s[3]) + 0x6ED9EBA1
                             : i < 60 ? ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + 0x8F1BBCDC
                                      : (s[1] ^ s[2] ^ s[3]) + 0xCA62C1D6;
            mixed += rotated(s[0], 5) + s[4] + words[i];
            s[4] = s[3], s[3] = s[2], s[2] = rotated(s[1], 30), s[1] = s[0], s[0] = mixed;
        }
        for (int i = 0; i < 5; i++) state[i] += s[i];
    }
    for (int i = 0; i < 20; i++) digest[i] = state[i / 4] >> (24 - 8 * (i % 4));
}

static void base64(const uint8_t data[20], char text[29]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 7; i++) {
        uint32_t bits = data[3 * i] << 16 | data[3 * i + 1] << 8 | (i < 6 ? data[3 * i + 2] : 0);
        for (int j = 0; j < 4; j++) *text++ = digits[bits >> (18 - 6 * j) & 63];
    }
    text[-1] = '=';
    *text = 0;
}

/* -- sending ------------------------------------------------------------------------------ */

static void watch(Session *session, bool for_room) {
    struct epoll_event event = {.events = EPOLLIN | (for_room ? EPOLLOUT : 0)};
    event.data.ptr = session;
    epoll_ctl(poller, EPOLL_CTL_MOD, session->fd, &event);
}

/* Send what the socket takes, and keep the rest. */
static void put(Session *session, const void *data, size_t size) {
    if (session->gone) return;
    if (!session->out_size) {
        ssize_t sent = send(session->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            session->gone = true;
            return;
        }
        if (sent > 0) data = (const uint8_t *)data + sent, size -= sent;
        if (!size) return;
        watch(session, true);
    }
    if (session->out_size + size > session->out_room) {
        session->out_room = session->out_size + size;
        session->out = grown(session->out, session->out_room);
    }
    memcpy(session->out + session->out_size, data, size);
    session->out_size += size;
}

static void put_frame(Session *session, uint8_t opcode, const void *payload, size_t size) {
    uint8_t message[256] = {0x80 | opcode};
    size_t head = size < 126 ? 2 : 4;
    message[1] = size < 126 ? size : 126;
    if (head == 4) message[2] = size >> 8, message[3] = size;
    memcpy(message + head, payload, size);
    put(session, message, head + size);
}

static void put_burst(Session *session) {
    while (session->burst_left && !session->out_size && !session->gone) {
        size_t frames = session->burst_left < FRAMES_IN_BURST ? session->burst_left : FRAMES_IN_BURST;
        session->burst_left -= frames;
        put(session, burst, frames * burst_frame_size);
    }
}

static void put_rest(Session *session) {
    ssize_t sent = send(session->fd, session->out, session->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) session->gone = true;
    if (sent <= 0) return;
    session->out_size -= sent;
    memmove(session->out, session->out + sent, session->out_size);
    if (session->out_size) return;
    watch(session, false);
    put_burst(session);
}

/* Write a field's tag and length, or its number. Returns what comes after it. */
static uint8_t *put_field(uint8_t *at, uint8_t tag, uint32_t value) {
    for (*at++ = tag; value > 127; value >>= 7) *at++ = 0x80 | value;
    *at++ = value;
    return at;
}

/* Make a WebSocket message of a frame with sound, as pipecat's server does. Returns its size. */
static size_t make_sound(uint8_t *message, size_t size) {
    static const char name[] = "TTSAudioRawFrame#1234";
    uint8_t fields[64], *end = put_field(fields, 0x08, 123456);
    end = put_field(end, 0x12, strlen(name));
    memcpy(end, name, strlen(name));
    end = put_field(end + strlen(name), 0x1A, size);
    uint8_t rate[8], *rate_end = put_field(put_field(rate, 0x20, 24000), 0x28, 1);
    size_t head = end - fields, tail = rate_end - rate, audio = head + size + tail;
    uint8_t outer[8], *outer_end = put_field(outer, 0x12, audio);
    size_t whole = outer_end - outer + audio;
    uint8_t *at = message;
    *at++ = 0x82;
    if (whole < 65536) {
        *at++ = 126, *at++ = whole >> 8, *at++ = whole;
    } else {
        *at++ = 127;
        for (int shift = 56; shift >= 0; shift -= 8) *at++ = (uint64_t)whole >> shift;
    }
    memcpy(at, outer, outer_end - outer), at += outer_end - outer;
    memcpy(at, fields, head), at += head;
    for (size_t i = 0; i < size; i++) *at++ = (i * 2654435761u) >> 24;
    memcpy(at, rate, tail);
    return at + tail - message;
}

/* -- the beat of ours --------------------------------------------------------------------- */

static void begin_sound(Session *session) {
    if (session->slot >= 0) return;
    int slot = session->slot = (next_phase++ * 31) % SLOTS;
    if (slot_sizes[slot] == slot_rooms[slot]) {
        slot_rooms[slot] = slot_rooms[slot] * 2 + 16;
        slots[slot] = grown(slots[slot], slot_rooms[slot] * sizeof *slots[slot]);
    }
    session->place = slot_sizes[slot]++;
    slots[slot][session->place] = session;
}

static void end_sound(Session *session) {
    if (session->slot < 0) return;
    Session *last = slots[session->slot][--slot_sizes[session->slot]];
    slots[session->slot][session->place] = last;
    last->place = session->place;
    session->slot = -1;
}

/* What becomes due meanwhile waits for the next time, so that there is time to receive. */
static void send_due(void) {
    for (double until = now(); next_due <= until; next_due += PERIOD / SLOTS) {
        size_t slot = next_slot++ % SLOTS;
        for (size_t i = 0; i < slot_sizes[slot]; i++) {
            Session *session = slots[slot][i];
            if (session->out_size) {
                down_skipped += noting;
                continue;
            }
            put(session, frame, frame_size);
            down_sent += noting;
            if (noting) add(&own_lateness, now() - next_due);
        }
    }
}

/* -- receiving ---------------------------------------------------------------------------- */

static size_t upgrade(Session *session, const uint8_t *data, size_t size) {
    static const char field[] = "sec-websocket-key:";
    const char *end = memmem(data, size, "\r\n\r\n", 4), *key = NULL;
    if (!end) return 0;
    for (const char *line = (const char *)data; line + strlen(field) < end; line++)
        if (!strncasecmp(line, field, strlen(field))) key = line + strlen(field);
    if (!key) {
        session->gone = true;
        return size;
    }
    key += strspn(key, " ");
    char text[100], accept[29], answer[200];
    size_t length = strcspn(key, " \r");
    length = length < 40 ? length : 40;
    memcpy(text, key, length);
    strcpy(text + length, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    uint8_t digest[20];
    sha1(text, strlen(text), digest);
    base64(digest, accept);
    int written = snprintf(answer, sizeof answer,
                           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                           "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                           accept);
    put(session, answer, written);
    session->upgraded = true;
    return end + 4 - (const char *)data;
}

/* Answer client-ready by its id. */
static void become_ready(Session *session, const uint8_t *payload, size_t size) {
    const char *id = memmem(payload, size, "\"id\"", 4);
    const char *end = (const char *)payload + size;
    char answer[256];
    if (!id || !memmem(payload, size, "client-ready", 12)) return;
    for (id += 4; id < end && (*id == ' ' || *id == ':' || *id == '"'); id++) continue;
    size_t length = 0;
    while (id + length < end && id[length] != '"' && length < 80) length++;
    int text = snprintf(answer + 4, sizeof answer - 4,
                        "{\"label\":\"rtvi-ai\",\"type\":\"bot-ready\",\"id\":\"%.*s\","
                        "\"data\":{\"version\":\"2.2.0\"}}",
                        (int)length, id);
    uint8_t message[300], *at;
    at = put_field(message, 0x22, text + (text < 128 ? 2 : 3));
    at = put_field(at, 0x0A, text);
    memcpy(at, answer + 4, text);
    put_frame(session, 2, message, at + text - message);
    session->ready = true;
    if (session->mode == AT_ONCE) begin_sound(session);
}

static void note(Session *session, double at) {
    up_received++;
    if (session->mode == AFTER_AUDIO) begin_sound(session);
    if (!noting) return;
    if (session->arrived == session->room) {
        session->room = session->room * 2 + 256;
        session->arrivals = grown(session->arrivals, session->room * sizeof(double));
    }
    session->arrivals[session->arrived++] = at;
}

static void unmask(uint8_t *payload, size_t size, const uint8_t *mask) {
    for (size_t i = 0; i < size; i++) payload[i] ^= mask[i % 4];
}

/* Take the whole frames in what came. Returns how much of it was taken. */
static size_t take_frames(Session *session, uint8_t *data, size_t size, double at) {
    size_t taken = 0;
    while (!session->gone && size - taken >= 6) {
        uint8_t *head = data + taken, *mask;
        uint64_t length = head[1] & 127;
        size_t start = 2;
        if (length == 126) {
            length = head[2] << 8 | head[3];
            start = 4;
        } else if (length == 127) {
            if (size - taken < 10) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | head[i];
            start = 10;
        }
        if (!(head[1] & 128) || length > MAX_MESSAGE) {
            session->gone = true;
            break;
        }
        if (size - taken < start + 4 + length) break;
        mask = head + start;
        uint8_t *payload = mask + 4;
        switch (head[0] & 15) {
        case 2:
            if (length > LEAST_SOUND && (payload[0] ^ mask[0]) == 0x12) {
                note(session, at);
            } else if (!session->ready) {
                unmask(payload, length, mask);
                become_ready(session, payload, length);
            }
            break;
        case 8:
            unmask(payload, length, mask);
            put_frame(session, 8, payload, length < 125 ? length : 125);
            shutdown(session->fd, SHUT_WR);
            end_sound(session);
            break;
        case 9:
            unmask(payload, length, mask);
            put_frame(session, 10, payload, length < 125 ? length : 125);
            break;
        }
        taken += start + 4 + length;
    }
    return taken;
}

static void receive(Session *session) {
    static uint8_t buffer[1 << 18];
    uint8_t *data = buffer;
    ssize_t received = recv(session->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return;
    if (received <= 0) {
        session->gone = true;
        return;
    }
    double at = now();
    size_t size = received, taken = 0;
    if (session->in_size) {
        if (session->in_size + size > session->in_room) {
            session->in_room = session->in_size + size;
            session->in = grown(session->in, session->in_room);
        }
        memcpy(session->in + session->in_size, buffer, size);
        data = session->in;
        size += session->in_size;
    }
    if (!session->upgraded) taken = upgrade(session, data, size);
    if (session->upgraded) taken += take_frames(session, data + taken, size - taken, at);
    size -= taken;
    if (size > session->in_room) {
        session->in_room = size + 4096;
        uint8_t *kept = grown(NULL, session->in_room);
        memcpy(kept, data + taken, size);
        free(session->in);
        session->in = kept;
    } else if (size) {
        memmove(session->in, data + taken, size);
    }
    session->in_size = size;
}

/* -- connections -------------------------------------------------------------------------- */

static void drop(Session *session) {
    end_sound(session);
    sessions[session->fd] = NULL;
    close(session->fd);
    free(session->in);
    free(session->out);
    free(session->arrivals);
    free(session);
}

static void drop_all(void) {
    struct linger at_once = {1, 0};
    for (int fd = 0; fd < MAX_FDS; fd++) {
        if (!sessions[fd]) continue;
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        drop(sessions[fd]);
    }
}

static void accept_all(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        Session *session = sessions[fd] = grown(NULL, sizeof *session);
        *session = (Session){.fd = fd, .slot = -1, .mode = mode};
        struct epoll_event event = {.events = EPOLLIN};
        event.data.ptr = session;
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

/* -- what is reported --------------------------------------------------------------------- */

static void start(void) {
    for (int fd = 0; fd < MAX_FDS; fd++)
        if (sessions[fd]) sessions[fd]->arrived = 0;
    memset(&lateness, 0, sizeof lateness);
    memset(&own_lateness, 0, sizeof own_lateness);
    down_sent = down_skipped = up_received = 0;
    noting = true;
    noting_since = now();
}

static void report(void) {
    double seconds = now() - noting_since, least = 1;
    uint64_t number = 0, received = 0;
    struct rusage used;
    noting = false;
    for (int fd = 0; fd < MAX_FDS; fd++) {
        Session *session = sessions[fd];
        if (!session || !session->ready) continue;
        double anchor = 1e300, part = session->arrived * BEAT / seconds;
        for (size_t k = 0; k < session->arrived; k++) {
            double due = session->arrivals[k] - k * BEAT;
            anchor = due < anchor ? due : anchor;
        }
        for (size_t k = 0; k < session->arrived; k++)
            add(&lateness, session->arrivals[k] - k * BEAT - anchor);
        number++;
        received += session->arrived;
        least = part < least ? part : least;
    }
    getrusage(RUSAGE_SELF, &used);
    printf("{\"sessions\": %lu, \"seconds\": %.4f, \"expected\": %.0f, \"received\": %lu, "
           "\"least_part\": %.4f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f, "
           "\"own_p99\": %.1f, \"own_max\": %.1f, \"down_sent\": %lu, \"down_skipped\": %lu, "
           "\"up_received\": %lu, \"cpu\": %.3f}\n",
           number, seconds, number * seconds / BEAT, received, least, percentile(&lateness, 50),
           percentile(&lateness, 90), percentile(&lateness, 99), lateness.max * 1000,
           percentile(&own_lateness, 99), own_lateness.max * 1000, down_sent, down_skipped,
           up_received,
           used.ru_utime.tv_sec + used.ru_utime.tv_usec / 1e6 + used.ru_stime.tv_sec +
               used.ru_stime.tv_usec / 1e6);
}

static void send_bursts(size_t number, size_t size) {
    if (size > MAX_MESSAGE) return;
    burst = grown(burst, FRAMES_IN_BURST * (size + 100));
    burst_frame_size = make_sound(burst, size);
    for (int i = 1; i < FRAMES_IN_BURST; i++)
        memcpy(burst + i * burst_frame_size, burst, burst_frame_size);
    for (int fd = 0; fd < MAX_FDS; fd++) {
        if (!sessions[fd] || !sessions[fd]->ready) continue;
        sessions[fd]->burst_left = number;
        put_burst(sessions[fd]);
    }
}

static void obey(const char *line) {
    size_t number, size;
    if (sscanf(line, "burst %zu %zu", &number, &size) == 2) send_bursts(number, size);
    else if (!strcmp(line, "mode after-audio")) mode = AFTER_AUDIO;
    else if (!strcmp(line, "mode at-once")) mode = AT_ONCE;
    else if (!strcmp(line, "mode quiet")) mode = QUIET;
    else if (!strcmp(line, "start")) start();
    else if (!strcmp(line, "report")) report();
    else if (!strcmp(line, "reset")) drop_all(), puts("reset");
    else fprintf(stderr, "audience: what is %s?\n", line);
}

/* Returns false at the end of the standard input. */
static bool obey_lines(void) {
    static char lines[4096];
    static size_t size;
    ssize_t received = read(0, lines + size, sizeof lines - size);
    if (received <= 0) return false;
    size += received;
    for (char *end; (end = memchr(lines, '\n', size));) {
        *end++ = 0;
        obey(lines);
        size -= end - lines;
        memmove(lines, end, size);
    }
    return size < sizeof lines;
}

int main(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) {
        perror("audience");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%d\n", ntohs(address.sin_port));

    frame_size = make_sound(frame, SOUND);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec beat = {{0, PERIOD / SLOTS * 1e9}, {0, 1}};
    timerfd_settime(timer, 0, &beat, NULL);
    next_due = now();

    poller = epoll_create1(0);
    int inputs[] = {0, listener, timer};
    for (int i = 0; i < 3; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &inputs[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, inputs[i], &event);
    }
    for (;;) {
        struct epoll_event events[256];
        int number = epoll_wait(poller, events, 256, -1);
        bool orders = false;
        for (int i = 0; i < number; i++) {
            uint64_t beats;
            if (events[i].data.ptr == &inputs[0]) {
                orders = true;
            } else if (events[i].data.ptr == &inputs[1]) {
                accept_all(listener);
            } else if (events[i].data.ptr == &inputs[2]) {
                if (read(timer, &beats, sizeof beats) > 0) send_due();
            } else {
                Session *session = events[i].data.ptr;
                if (events[i].events & EPOLLOUT && session->out_size) put_rest(session);
                if (events[i].events & ~EPOLLOUT) receive(session);
                if (session->gone) drop(session);
            }
            if (i % 32 == 31) send_due();
        }
        /* Last, for an order may drop sessions that have events here. */
        if (orders && !obey_lines()) return 0;
    }
}
