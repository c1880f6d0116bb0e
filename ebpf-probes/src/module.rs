//! Modules of the kernel: the tracepoints `module_load` and `module_free`.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use bygone_probe_abi::{ABSENT, ACT_MODULE_FREE, ACT_MODULE_LOAD, ACT_TEXT_MAX, CLASS_MODULE};

use crate::act;
use crate::offsets::{MODULE_NAME, MODULE_SIGNED, MODULE_TAINTS};
use crate::read::{at, long};

/// `module_load(struct module *mod)`, in the context of the process that loads it.
#[raw_tracepoint(tracepoint = "module_load")]
pub fn module_load(context: RawTracePointContext) -> i32 {
    send(context.arg(0), ACT_MODULE_LOAD);
    0
}

/// `module_free(struct module *mod)`, in the context of the process that removes it.
#[raw_tracepoint(tracepoint = "module_free")]
pub fn module_free(context: RawTracePointContext) -> i32 {
    send(context.arg(0), ACT_MODULE_FREE);
    0
}

#[inline(always)]
fn send(module: u64, what: u32) {
    let Some(mut entry) = act::begin(CLASS_MODULE, what) else {
        return;
    };
    // SAFETY: the record is ours until it is submitted.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    record.numbers[0] = long(module, &MODULE_TAINTS);
    record.numbers[1] = match MODULE_SIGNED.load() {
        ABSENT => 2,
        offset => u64::from(at::<u16>(module.wrapping_add(u64::from(offset))) & 0xff != 0),
    };
    let name = module.wrapping_add(u64::from(MODULE_NAME.load()));
    // SAFETY: the text has ACT_TEXT_MAX bytes; any address may be asked for.
    let read = unsafe {
        bpf_probe_read_kernel_str(
            record.text.as_mut_ptr().cast(),
            ACT_TEXT_MAX as u32,
            name as *const core::ffi::c_void,
        )
    };
    act::set_text(record, read);
    act::submit(entry);
}
