// events: see events.h.
//     Event   { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
//     Summary { repeated Value value = 1; }   Value { string tag = 1; float simple_value = 2; }
#include "events.h"

#include <string.h>

uint32_t crc32c(const void *data, size_t size) {
    const unsigned char *p = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static uint32_t masked(const void *data, size_t size) {
    uint32_t crc = crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

enum { LONGEST_TAG = 256, ROOM = 512 };

typedef struct Bytes {
    unsigned char data[ROOM];
    size_t length;
} Bytes;

static void put(Bytes *bytes, const void *data, size_t size) {
    memcpy(bytes->data + bytes->length, data, size);
    bytes->length += size;
}

static void put_number(Bytes *bytes, uint64_t value, int size) { // little-endian
    for (int i = 0; i < size; i++) bytes->data[bytes->length++] = (unsigned char)(value >> 8 * i);
}

static void put_varint(Bytes *bytes, uint64_t value) {
    for (; value >= 128; value >>= 7) bytes->data[bytes->length++] = (unsigned char)(value | 128);
    bytes->data[bytes->length++] = (unsigned char)value;
}

enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 };

static void put_key(Bytes *bytes, int field, int wire) {
    put_varint(bytes, (uint64_t)field << 3 | (uint64_t)wire);
}

static void put_delimited(Bytes *bytes, int field, const void *data, size_t size) {
    put_key(bytes, field, DELIMITED);
    put_varint(bytes, size);
    put(bytes, data, size);
}

static void begin_event(Bytes *event, double wall_time) {
    uint64_t bits;
    memcpy(&bits, &wall_time, 8);
    put_key(event, 1, FIXED64);
    put_number(event, bits, 8);
}

static Status write_record(Journal *journal, const Bytes *event) {
    Bytes record = {0};
    put_number(&record, event->length, 8);
    put_number(&record, masked(record.data, 8), 4);
    size_t head = record.length;
    unsigned char whole[ROOM + 16];
    memcpy(whole, record.data, head);
    memcpy(whole + head, event->data, event->length);
    Bytes tail = {0};
    put_number(&tail, masked(event->data, event->length), 4);
    memcpy(whole + head + event->length, tail.data, 4);
    return journal_append(journal, whole, head + event->length + 4);
}

Status events_header(Journal *journal, double wall_time) {
    static const char version[] = "brain.Event:2";
    Bytes event = {0};
    begin_event(&event, wall_time);
    put_delimited(&event, 3, version, sizeof version - 1);
    return write_record(journal, &event);
}

Status events_scalar(Journal *journal, double wall_time, int64_t step, const char *tag, float value) {
    Bytes event = {0}, summary = {0}, item = {0};
    uint32_t bits;
    size_t length = strlen(tag);
    memcpy(&bits, &value, 4);
    put_delimited(&item, 1, tag, length < LONGEST_TAG ? length : LONGEST_TAG);
    put_key(&item, 2, FIXED32);
    put_number(&item, bits, 4);
    put_delimited(&summary, 1, item.data, item.length);
    begin_event(&event, wall_time);
    put_key(&event, 2, VARINT);
    put_varint(&event, (uint64_t)step);
    put_delimited(&event, 5, summary.data, summary.length);
    return write_record(journal, &event);
}
