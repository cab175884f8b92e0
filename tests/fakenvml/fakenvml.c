/*
 * A libnvidia-ml.so.1 without a GPU: as many as the file named in FAKE_NVML says, with figures that follow from their
 * numbers, and calls that fail, hang or crash as it says. The file is read anew when another one has taken its place.
 *
 *   gpus=8                        how many there are; else none
 *   parts.1=2                     GPU 1 is divided in two (MIG)
 *   model.1=7                     compute capability 7.0 instead of 9.0
 *   util.0=25                     a figure of GPU 0 instead of its own
 *   fail.nvmlDeviceGetName=3      that call returns 3; behind it ".1": of GPU 1 alone
 *   hang.nvmlDeviceGetName=1      that call never returns
 *   crash.nvmlDeviceGetName=1     that call is a segmentation fault
 *   xid=0:79:5                    an event 79 of GPU 0; another last number, another event
 *   process.0=4711:1000           process 4711 holds 1000 bytes of GPU 0
 *   io_rate.0=1000                so many bytes a second over PCIe, each way
 *   throttled.0=0.25              its clocks are held down by the power limit for that share of the time
 *   gpm.10.0=37.5                 average 10 of GPU 0 between two samples; else its number and 10 times that of the part
 *   fail.gpm.10=3                 that average alone cannot be had
 *   gpm_breaks=1                  after a sample of a part its memory cannot be read any more
 *   gpm_shortest=0.1              samples that are less than so many seconds apart give nothing
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <pthread.h>
#include <time.h>

#define SUCCESS 0
#define INVALID 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT 7
#define TIMEOUT 10
#define GIB (1024ull * 1024 * 1024)
#define MOST 8
#define PARTS 7

typedef unsigned long long u64;
typedef struct { int gpu, part; } Device;

static Device devices[MOST][PARTS + 1];
static char text[65536];
static struct stat seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void reload(void) {
    const char *path = getenv("FAKE_NVML");
    struct stat now;
    if (path == NULL || stat(path, &now) != 0) { text[0] = 0; return; }
    if (now.st_ino == seen.st_ino && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec && now.st_size == seen.st_size) return;
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    size_t got = fread(text + 1, 1, sizeof text - 2, file);
    fclose(file);
    text[0] = '\n';
    text[got + 1] = 0;
    seen = now;
}

/* Copy what stands behind "name=" and return 1, or return 0. */
static int said(const char *name, char *value, size_t size) {
    char key[160];
    int found = 0;
    snprintf(key, sizeof key, "\n%s=", name);
    pthread_mutex_lock(&lock);
    reload();
    char *at = strstr(text, key);
    if (at != NULL) {
        at += strlen(key);
        size_t length = strcspn(at, "\n");
        if (length >= size) length = size - 1;
        memcpy(value, at, length);
        value[length] = 0;
        found = 1;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static double number(const char *name, int gpu, double otherwise) {
    char key[128], value[64];
    snprintf(key, sizeof key, "%s.%d", name, gpu);
    return said(key, value, sizeof value) ? atof(value) : otherwise;
}

/* What a call does before anything else: hang, crash, or fail; 0 if it may go on. */
static int before(const char *function, const Device *device) {
    char key[160], value[64];
    snprintf(key, sizeof key, "hang.%s", function);
    if (said(key, value, sizeof value)) for (;;) pause();
    snprintf(key, sizeof key, "crash.%s", function);
    if (said(key, value, sizeof value)) *(volatile int *)0 = 0;
    snprintf(key, sizeof key, "fail.%s", function);
    if (said(key, value, sizeof value)) return atoi(value);
    if (device != NULL) {
        snprintf(key, sizeof key, "fail.%s.%d", function, device->gpu);
        if (said(key, value, sizeof value)) return atoi(value);
        snprintf(key, sizeof key, "lost.%d", device->gpu);
        if (said(key, value, sizeof value)) return 15;
        if (device->part && strstr(function, "Memory") == NULL && strstr(function, "Instance") == NULL
            && strstr(function, "UUID") == NULL && strstr(function, "Processes") == NULL
            && strstr(function, "Name") == NULL && strstr(function, "GpmMetrics") == NULL) return NOT_SUPPORTED;
    }
    return SUCCESS;
}

#define BEGIN(device) do { int failed = before(__func__, device); if (failed) return failed; } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; BEGIN(NULL); return SUCCESS; }
int nvmlShutdown(void) { BEGIN(NULL); return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the fake library"; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    BEGIN(NULL);
    snprintf(version, length, "999.00");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    char value[64];
    BEGIN(NULL);
    *count = said("gpus", value, sizeof value) ? (unsigned)atoi(value) : 0;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **handle) {
    unsigned count;
    if (nvmlDeviceGetCount_v2(&count) != SUCCESS || index >= count || index >= MOST) return INVALID;
    devices[index][0] = (Device){(int)index, 0};
    BEGIN(&devices[index][0]);
    *handle = &devices[index][0];
    return SUCCESS;
}

int nvmlDeviceGetUUID(Device *device, char *uuid, unsigned length) {
    BEGIN(device);
    if (device->part) snprintf(uuid, length, "MIG-%d%d000000-0000-0000-0000-000000000000", device->gpu, device->part);
    else snprintf(uuid, length, "GPU-%d0000000-0000-0000-0000-000000000000", device->gpu);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    BEGIN(device);
    *current = *pending = number("parts", device->gpu, 0) > 0;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *count) { BEGIN(device); *count = PARTS; return SUCCESS; }

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **part) {
    BEGIN(device);
    if (index >= (unsigned)number("parts", device->gpu, 0)) return NOT_FOUND;
    devices[device->gpu][index + 1] = (Device){device->gpu, (int)index + 1};
    *part = &devices[device->gpu][index + 1];
    return SUCCESS;
}

int nvmlDeviceGetGpuInstanceId(Device *device, unsigned *id) { BEGIN(device); *id = 6 + device->part; return SUCCESS; }
int nvmlDeviceGetComputeInstanceId(Device *device, unsigned *id) { BEGIN(device); *id = 0; return SUCCESS; }

int nvmlDeviceGetCudaComputeCapability(Device *device, int *major, int *minor) {
    BEGIN(device);
    *major = (int)number("model", device->gpu, 9);
    *minor = 0;
    return SUCCESS;
}

int nvmlDeviceGetNumGpuCores(Device *device, unsigned *cores) { BEGIN(device); *cores = 16896; return SUCCESS; }
int nvmlDeviceGetMaxClockInfo(Device *device, int clock, unsigned *mhz) { (void)clock; BEGIN(device); *mhz = 1980; return SUCCESS; }

int nvmlDeviceGetName(Device *device, char *name, unsigned length) {
    BEGIN(device);
    snprintf(name, length, "Fake GPU");
    return SUCCESS;
}

int nvmlDeviceGetSerial(Device *device, char *serial, unsigned length) {
    BEGIN(device);
    snprintf(serial, length, "serial-%d", device->gpu);
    return SUCCESS;
}

int nvmlDeviceGetVbiosVersion(Device *device, char *version, unsigned length) {
    BEGIN(device);
    snprintf(version, length, "96.00");
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(Device *device, unsigned rates[2]) {
    BEGIN(device);
    rates[0] = (unsigned)number("util", device->gpu, 50 + device->gpu);
    rates[1] = (unsigned)number("memory_activity", device->gpu, 20 + device->gpu);
    return SUCCESS;
}

/* The first version counts what the driver has reserved as used. */
int nvmlDeviceGetMemoryInfo(Device *device, u64 memory[3]) {
    BEGIN(device);
    memory[0] = (u64)number("memory_total", device->gpu, 80.0 * GIB);
    memory[2] = (10 + (u64)device->gpu + 1) * GIB;
    memory[1] = memory[0] - memory[2];
    return SUCCESS;
}

typedef struct { unsigned version; u64 total, reserved, free, used; } Memory;

static int is_broken = 0;

int nvmlDeviceGetMemoryInfo_v2(Device *device, Memory *memory) {
    BEGIN(device);
    if (device->part > (is_broken ? 0 : (int)number("parts", device->gpu, 0))) return INVALID;
    memory->total = (u64)number("memory_total", device->gpu, device->part ? 10.0 * GIB : 80.0 * GIB);
    memory->reserved = GIB;
    memory->used = device->part ? (u64)device->part * GIB : (10 + (u64)device->gpu) * GIB;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    BEGIN(device);
    *milliwatts = (unsigned)number("power", device->gpu, 300000 + 1000 * device->gpu);
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *milliwatts) { BEGIN(device); *milliwatts = 700000; return SUCCESS; }

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* So many millijoules as "energy" says, or as the power has come to since the clock began. */
int nvmlDeviceGetTotalEnergyConsumption(Device *device, u64 *millijoules) {
    BEGIN(device);
    double milliwatts = number("power", device->gpu, 300000 + 1000 * device->gpu);
    *millijoules = (u64)number("energy", device->gpu, milliwatts * seconds());
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *celsius) {
    BEGIN(device);
    if (sensor != 0) return INVALID;
    *celsius = 60 + (unsigned)device->gpu;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(Device *device, unsigned clock, unsigned *mhz) { BEGIN(device); *mhz = 1000 + 100 * clock; return SUCCESS; }

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, u64 *reasons) {
    BEGIN(device);
    *reasons = (u64)number("throttle", device->gpu, 0x4);
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, u64 *reasons) {
    BEGIN(device);
    *reasons = (u64)number("throttle", device->gpu, 0x8);
    return SUCCESS;
}

typedef struct {
    unsigned field, scope;
    int64_t time, latency;
    unsigned type, status;
    union { double d; unsigned ui; u64 ull; } value;
} Field;

int nvmlDeviceGetFieldValues(Device *device, int count, Field *fields) {
    BEGIN(device);
    for (int at = 0; at < count; at++) {
        Field *field = &fields[at];
        char key[64], value[64];
        snprintf(key, sizeof key, "fail.field.%u", field->field);
        field->status = said(key, value, sizeof value) ? (unsigned)atoi(value) : SUCCESS;
        snprintf(key, sizeof key, "field.%u", field->field);
        field->type = 3;
        if (field->field == 82) {
            field->type = 1;
            field->value.ui = 70 + (unsigned)device->gpu;
        } else if (field->field >= 74 && field->field <= 81) {
            double share = field->field == 74 ? number("throttled", device->gpu, 0) : 0;
            field->value.ull = (u64)(number(key, device->gpu, 1e9 * (field->field - 73)) + 1e9 * share * seconds());
        } else if (field->field == 197 || field->field == 198) {
            double rate = number("io_rate", device->gpu, 0);
            field->value.ull = (u64)(number(key, device->gpu, 5e9 + field->field) + rate * seconds());
        } else if ((field->field == 138 || field->field == 139) && field->scope == 0xFFFFFFFFu) {
            field->value.ull = (u64)number(key, device->gpu, 1000 + field->field);
        } else if (field->status == SUCCESS) {
            field->status = NOT_SUPPORTED;
        }
    }
    return SUCCESS;
}

int nvmlDeviceGetViolationStatus(Device *device, unsigned policy, u64 times[2]) {
    BEGIN(device);
    times[0] = 1;
    times[1] = 1000000000ull * (policy + 100);
    return SUCCESS;
}

int nvmlDeviceGetPcieThroughput(Device *device, unsigned counter, unsigned *value) {
    (void)device; (void)counter; (void)value;
    abort(); /* takes 20 ms on a real GPU: nobody is to call it */
}

int nvmlDeviceGetPcieReplayCounter(Device *device, unsigned *replays) {
    BEGIN(device);
    *replays = (unsigned)number("replays", device->gpu, 5);
    return SUCCESS;
}

int nvmlDeviceGetCurrPcieLinkGeneration(Device *device, unsigned *generation) { BEGIN(device); *generation = 5; return SUCCESS; }
int nvmlDeviceGetCurrPcieLinkWidth(Device *device, unsigned *width) { BEGIN(device); *width = 16; return SUCCESS; }

int nvmlDeviceGetTotalEccErrors(Device *device, unsigned kind, unsigned counter, u64 *count) {
    BEGIN(device);
    if (counter != 0) return INVALID;
    *count = (u64)number(kind ? "uncorrected" : "corrected", device->gpu, 0);
    return SUCCESS;
}

int nvmlDeviceGetRemappedRows(Device *device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    BEGIN(device);
    *corrected = 1;
    *uncorrected = 2;
    *pending = 1;
    *failed = 0;
    return SUCCESS;
}

int nvmlDeviceGetEncoderUtilization(Device *device, unsigned *share, unsigned *period) { BEGIN(device); *share = 7; *period = 1; return SUCCESS; }
int nvmlDeviceGetDecoderUtilization(Device *device, unsigned *share, unsigned *period) { BEGIN(device); *share = 8; *period = 1; return SUCCESS; }

typedef struct { unsigned pid; u64 used; unsigned instance, compute; } Process;

static int processes(const char *name, const Device *device, unsigned *count, Process *found) {
    char key[64], value[256];
    unsigned there = 0, pids[8];
    u64 bytes[8];
    snprintf(key, sizeof key, "%s.%d", name, device->gpu);
    if (said(key, value, sizeof value))
        for (char *rest, *one = strtok_r(value, ",", &rest); one && there < 8; one = strtok_r(NULL, ",", &rest), there++) {
            pids[there] = (unsigned)strtoul(one, &one, 10);
            bytes[there] = *one == ':' ? strtoull(one + 1, NULL, 10) : UINT64_MAX;
        }
    if (there > *count) { *count = there; return INSUFFICIENT; }
    for (unsigned at = 0; at < there; at++) found[at] = (Process){pids[at], bytes[at], 0, 0};
    *count = there;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *found) { BEGIN(device); return processes("process", device, count, found); }
int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *count, Process *found) { BEGIN(device); return processes("process", device, count, found); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *device, unsigned *count, Process *found) { BEGIN(device); return processes("graphics", device, count, found); }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(Device *device, unsigned *count, Process *found) { BEGIN(device); return processes("mps", device, count, found); }

typedef struct { unsigned pid; u64 time; unsigned sm, memory, encoder, decoder; } Sample;

int nvmlDeviceGetProcessUtilization(Device *device, Sample *samples, unsigned *count, u64 since) {
    Process found[8];
    unsigned there = 8;
    BEGIN(device);
    processes("busy", device, &there, found);
    if (there == 0) return NOT_FOUND;
    if (there > *count || samples == NULL) { *count = there; return INSUFFICIENT; }
    for (unsigned at = 0; at < there; at++) samples[at] = (Sample){found[at].pid, since + 1, (unsigned)found[at].used, 0, 0, 0};
    *count = there;
    return SUCCESS;
}

/* Samples of counters (GPM), of which two give averages: how many there are that nobody has freed. */
typedef struct { Device device; unsigned taken; double at; } Counters;
typedef struct { unsigned id; int status; double value; struct { char *short_name, *long_name, *unit; } info; } Average;
typedef struct { unsigned version, count; Counters *first, *second; Average averages[]; } Averages;

int fake_samples = 0;

int nvmlGpmQueryDeviceSupport(Device *device, unsigned support[2]) {
    BEGIN(device);
    if (support[0] != 1) return INVALID;
    support[1] = number("model", device->gpu, 9) >= 9;
    return SUCCESS;
}

int nvmlGpmSampleAlloc(Counters **sample) {
    BEGIN(NULL);
    *sample = calloc(1, sizeof **sample);
    fake_samples++;
    return SUCCESS;
}

int nvmlGpmSampleFree(Counters *sample) {
    BEGIN(NULL);
    memset(sample, 0xff, sizeof *sample);
    free(sample);
    fake_samples--;
    return SUCCESS;
}

static int take(Device *device, int part, Counters *sample) {
    static unsigned taken[MOST][PARTS + 1];
    *sample = (Counters){{device->gpu, part}, ++taken[device->gpu][part], seconds()};
    return SUCCESS;
}

int nvmlGpmSampleGet(Device *device, Counters *sample) {
    BEGIN(device);
    return take(device, 0, sample);
}

int nvmlGpmMigSampleGet(Device *device, unsigned instance, Counters *sample) {
    char broken[8];
    BEGIN(device);
    int part = (int)instance - 6;
    if (device->part || part < 1 || part > (int)number("parts", device->gpu, 0)) return INVALID;
    is_broken |= said("gpm_breaks", broken, sizeof broken);
    return take(device, part, sample);
}

/* Average 21 is how many samples lie between the two, in MiB a second. */
int nvmlGpmMetricsGet(Averages *asked) {
    char key[64], value[64];
    BEGIN(&asked->first->device);
    const Counters *first = asked->first, *second = asked->second;
    if (asked->version != 1 || first->device.gpu != second->device.gpu || first->device.part != second->device.part
        || first->taken >= second->taken) return INVALID;
    for (unsigned at = 0; at < asked->count; at++) {
        Average *one = &asked->averages[at];
        int part = first->device.part;
        snprintf(key, sizeof key, "fail.gpm.%u", one->id);
        one->status = said(key, value, sizeof value) ? atoi(value) : SUCCESS;
        if (part && one->id >= 60) one->status = NOT_SUPPORTED;
        if (said("gpm_shortest", value, sizeof value) && second->at - first->at < atof(value)) one->status = INVALID;
        snprintf(key, sizeof key, "gpm.%u", one->id);
        one->value = number(key, first->device.gpu, one->id == 21 ? second->taken - first->taken : one->id + 10 * part);
    }
    return SUCCESS;
}

typedef struct { Device *device; u64 type, data; unsigned instance, compute; } Event;

int nvmlEventSetCreate(void **set) { BEGIN(NULL); *set = &seen; return SUCCESS; }
int nvmlDeviceRegisterEvents(Device *device, u64 types, void *set) { (void)set; BEGIN(device); return types == 8 ? SUCCESS : INVALID; }
int nvmlEventSetFree(void *set) { (void)set; return SUCCESS; }

int nvmlEventSetWait_v2(void *set, Event *event, unsigned milliseconds) {
    static char last[64];
    char value[64];
    (void)set;
    BEGIN(NULL);
    for (unsigned waited = 0; waited < milliseconds; waited += 10) {
        if (said("xid", value, sizeof value) && strcmp(value, last) != 0) {
            strcpy(last, value);
            *event = (Event){&devices[atoi(value)][0], 8, strtoull(strchr(value, ':') + 1, NULL, 10), 0, 0};
            return SUCCESS;
        }
        usleep(10000);
    }
    return TIMEOUT;
}
