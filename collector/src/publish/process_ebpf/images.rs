//! From the record of a mapped file to its event; and of a module's file, which is told alike.

use bygone_probe_abi as abi;

use super::decode::{Decoded, absolute, ctime_ns, device, key, nonzero, real_ns};
use crate::events::{Action, ActionEvent, ImageAction, ModuleFile, ProgramFile};
use crate::host::file_systems::is_elsewhere;
use crate::host::proc::is_in_memory;

const PROT_WRITE: u32 = 2;

/// The class of an image, and what it tells of; `None` when its path is not as long as it says.
pub(crate) fn event(
    record: &abi::ImageRecord,
    path: &[u8],
    offset_ns: i64,
) -> Option<(u32, Decoded)> {
    if path.len() != record.path_len as usize {
        return None;
    }
    let flag = |flag| record.flags & flag != 0;
    let path = absolute(path, flag(abi::IMAGE_PATH_WALKED), flag(abi::IMAGE_PATH_DETACHED));
    let (actor, mount_namespace) = (key(record.actor), nonzero(record.mount_namespace));
    let file = file(record);
    if flag(abi::IMAGE_MODULE) {
        let elsewhere = is_elsewhere(record.file_system);
        let file = ModuleFile { path, file, mount_namespace, elsewhere, signer: None };
        return Some((abi::CLASS_MODULE, Decoded::ModuleFile(actor, record.tid, Box::new(file))));
    }
    let image = ImageAction {
        path_truncated: path.is_some() && flag(abi::IMAGE_PATH_TRUNCATED),
        path,
        file,
        mount_namespace,
        writable: record.protection & PROT_WRITE != 0,
    };
    let event = ActionEvent {
        time_ns: real_ns(record.header.time_ns, offset_ns),
        actor,
        tid: record.tid,
        uid: record.uid,
        path: None,
        action: Action::Image(Box::new(image)),
    };
    Some((abi::CLASS_IMAGE, Decoded::Act(event, 0)))
}

fn file(record: &abi::ImageRecord) -> ProgramFile {
    let times = record.flags & abi::IMAGE_FILE_TIMES != 0;
    ProgramFile {
        device: device(record.device),
        inode: record.inode,
        mode: record.mode,
        owner_uid: record.owner_uid,
        owner_gid: record.owner_gid,
        atime: None,
        mtime: None,
        ctime: times.then_some(record.ctime),
        btime: None,
        ctime_ns: times.then(|| ctime_ns(record.ctime, record.ctime_nanoseconds)),
        size: Some(record.file_bytes),
        links: (record.links != u32::MAX).then_some(record.links),
        in_memory: is_in_memory(record.file_system),
    }
}
