// A backend whose device runs the CUDA kernels of early termination as blocks of fibers, and everything else on the CPU. A program loads
// it through GGML_BACKEND_PATH.

#include "fattn-art.cuh"

#include "ggml-cpu.h"

#include <cstring>

static constexpr int MAX_DEVICES = 4;

static int n_devices() {
    const char * n = getenv("EMULATED_DEVICES");
    return n ? atoi(n) : 1;
}

// a device is known by the number that it carries as context, like a CUDA device
template <typename T> static int number_of(const T * x) { return (int) (intptr_t) x->context; }

static ggml_backend_t cpu() {
    static ggml_backend_t backend = ggml_backend_cpu_init();
    return backend;
}
static ggml_backend_dev_t cpu_device() { return ggml_backend_get_device(cpu()); }

// Many records take a thread for every channel of every tile; the CPU makes the same bytes (summary.cpp).
static bool takes_long(const ggml_tensor * summarize) {
    const ggml_tensor * cells = summarize->src[1], * all = summarize->src[2];
    return (cells ? cells->ne[0] : all->ne[2]*all->ne[3])*all->ne[1] > 128;
}

// upstream's kernel, which runs where ours declines
static void without_early_termination(ggml_cgraph * graph, int i) {
    ggml_tensor * node = ggml_graph_node(graph, i);
    ggml_tensor   was  = *node;
    if (node->op == GGML_OP_FLASH_ATTN_EXT && ggml_flash_attn_ext_get_art(node).mode != GGML_ART_MODE_OFF) {
        ggml_art_params off = ggml_flash_attn_ext_get_art(node);
        off.mode = GGML_ART_MODE_OFF;
        ggml_flash_attn_ext_set_art(node, &off, nullptr, nullptr);
    }
    ggml_cgraph one = ggml_graph_view(graph, i, i + 1);
    GGML_ASSERT(ggml_backend_graph_compute(cpu(), &one) == GGML_STATUS_SUCCESS);
    *node = was;
}

static ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    ggml_backend_cuda_context context;
    context.device = number_of(backend->device);
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        ggml_tensor * node = ggml_graph_node(graph, i);
        if (node->op == GGML_OP_ART_SUMMARIZE && !takes_long(node)) {
            ggml_cuda_art_summarize(context, node);
        } else if (node->op != GGML_OP_FLASH_ATTN_EXT || !ggml_cuda_flash_attn_ext_art(context, node)) {
            without_early_termination(graph, i);
        }
    }
    return GGML_STATUS_SUCCESS;
}

static const char * description    (ggml_backend_dev_t) { return "CUDA kernels on emulated threads"; }
static const char * name_of_reg    (ggml_backend_reg_t) { return "EMULATED"; }
static const char * name_of_device (ggml_backend_dev_t dev) {
    static const char * const names[MAX_DEVICES] = { "EMULATED0", "EMULATED1", "EMULATED2", "EMULATED3" };
    return names[number_of(dev)];
}
static const char * name_of_backend(ggml_backend_t backend) { return name_of_device(backend->device); }
static void         free_backend   (ggml_backend_t backend) { delete backend; }

static void memory(ggml_backend_dev_t, size_t * free, size_t * total) { *free = *total = (size_t) 24 << 30; }
static enum ggml_backend_dev_type type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }
static void properties(ggml_backend_dev_t dev, ggml_backend_dev_props * props) {
    *props = {};
    props->name        = name_of_device(dev);
    props->description = description(dev);
    props->type        = type(dev);
    memory(dev, &props->memory_free, &props->memory_total);
}
static ggml_backend_t init_backend(ggml_backend_dev_t dev, const char *) {
    static ggml_guid guid = { 0x61, 0x72, 0x74 };
    ggml_backend_i iface = {};
    iface.get_name      = name_of_backend;
    iface.free          = free_backend;
    iface.graph_compute = graph_compute;
    return new ggml_backend{ &guid, iface, dev, nullptr };
}

// memory of a device of its own, as far as a scheduler can tell
static const char *          name_of_memory(ggml_backend_buffer_type_t type) { return name_of_device(type->device); }
static size_t                alignment     (ggml_backend_buffer_type_t) { return ggml_backend_buft_get_alignment(ggml_backend_cpu_buffer_type()); }
static ggml_backend_buffer_t allocate      (ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer) {
        buffer->buft = type;
    }
    return buffer;
}
static ggml_backend_buffer_type_t buffer_type(ggml_backend_dev_t dev) {
    static ggml_backend_buffer_type types[MAX_DEVICES] = {};
    ggml_backend_buffer_type & one = types[number_of(dev)];
    one.iface.get_name      = name_of_memory;
    one.iface.alloc_buffer  = allocate;
    one.iface.get_alignment = alignment;
    one.device              = dev;
    return &one;
}
static bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) {
    return op->op == GGML_OP_ART_SUMMARIZE ? ggml_cuda_art_summarize_supported(op) : ggml_backend_dev_supports_op(cpu_device(), op);
}
static bool supports_buft(ggml_backend_dev_t dev, ggml_backend_buffer_type_t type) { return type == buffer_type(dev); }

static size_t device_count(ggml_backend_reg_t) { return n_devices(); }
static ggml_backend_dev_t device(ggml_backend_reg_t reg, size_t i) {
    static ggml_backend_device all[MAX_DEVICES] = {};
    ggml_backend_device & one = all[i];
    one.context = (void *) (intptr_t) i;
    one.reg     = reg;
    one.iface.get_name        = name_of_device;
    one.iface.get_description = description;
    one.iface.get_memory      = memory;
    one.iface.get_type        = type;
    one.iface.get_props       = properties;
    one.iface.init_backend    = init_backend;
    one.iface.get_buffer_type = buffer_type;
    one.iface.supports_op     = supports_op;
    one.iface.supports_buft   = supports_buft;
    return &one;
}
static void set_threads(ggml_backend_t, int n) { ggml_backend_cpu_set_n_threads(cpu(), n); }

static void * proc_address(ggml_backend_reg_t, const char * name) {
    return strcmp(name, GGML_BACKEND_ART_MODES_PROC)  == 0 ? (void *) ggml_backend_cuda_art_modes :
           strcmp(name, "ggml_backend_set_n_threads") == 0 ? (void *) set_threads : nullptr;
}

ggml_backend_reg_t ggml_backend_cuda_reg() {
    static ggml_backend_reg reg = { GGML_BACKEND_API_VERSION, { name_of_reg, device_count, device, proc_address }, nullptr };
    return &reg;
}

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init() { return ggml_backend_cuda_reg(); }
