/* A plugin for QEMU's user mode that counts executed instructions, for benchmarks/lab/instructions.py.
 *
 * At each call of getppid(), the plugin writes the count so far to standard error. The measured program calls getppid()
 * only for this purpose. The declarations are those of version 1 of QEMU's plugin interface, because Debian does not
 * package its header.
 */
#include <inttypes.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct translation_block;

enum inline_operation { INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct translation_block *));
size_t qemu_plugin_tb_n_insns(const struct translation_block *block);
void qemu_plugin_register_vcpu_tb_exec_inline(
    struct translation_block *block, enum inline_operation operation, void *counter, uint64_t amount);
typedef void syscall_callback(
    plugin_id id, unsigned int cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
    uint64_t, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, syscall_callback *callback);

enum { GETPPID_OF_ARM64 = 173 };

int qemu_plugin_version = 1;

static uint64_t executed;

static void on_translation(plugin_id id, struct translation_block *block)
{
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
}

static void on_syscall(
    plugin_id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
    uint64_t a6, uint64_t a7, uint64_t a8)
{
    if (number == GETPPID_OF_ARM64)
        fprintf(stderr, "executed %" PRIu64 "\n", executed);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
