//! Changes to files: logs that grow, temporary files that come and go, now and then settings.

use bygone::tables::events::file_events::FileEvents;

use super::SECOND_NS;
use super::draw::Draw;

pub(super) fn row(time_ns: i64, uid: u32, draw: &mut Draw) -> FileEvents {
    let some = draw.squared(500);
    let number = draw.below(1 << 24);
    let (target_path, category, action) = match draw.below(100) {
        0..=44 => (format!("/var/log/app-{some}.log"), "logs", "UPDATED"),
        45..=59 => (format!("/tmp/cc{number:06x}.o"), "temporary", "CREATED"),
        60..=74 => (format!("/tmp/cc{number:06x}.o"), "temporary", "DELETED"),
        75..=84 => (format!("/srv/project-{some}/work/.git/index.lock"), "sources", "MOVED_FROM"),
        85..=94 => (format!("/srv/project-{some}/work/.git/index"), "sources", "MOVED_TO"),
        95..=98 => (format!("/home/user-{}/.cache/item-{number}", some % 12), "homes", "CREATED"),
        _ => (format!("/etc/service-{}.conf", some % 60), "etc", "ATTRIBUTES_MODIFIED"),
    };
    let gone = action == "DELETED" || action == "MOVED_FROM";
    let seconds = time_ns / SECOND_NS;
    FileEvents {
        target_path,
        category: category.to_owned(),
        action: action.to_owned(),
        transaction_id: if action.starts_with("MOVED") { number as u32 } else { 0 },
        inode: (!gone).then_some(260_000 + some),
        uid: (!gone).then_some(uid),
        gid: (!gone).then_some(uid),
        mode: (!gone).then(|| "0100644".to_owned()),
        size: (!gone).then(|| draw.squared(1 << 20)),
        atime: (!gone).then_some(seconds - draw.squared(86_400) as i64),
        mtime: (!gone).then_some(seconds),
        ctime: (!gone).then_some(seconds),
        md5: None,
        sha1: None,
        sha256: None,
        hashed: 0,
        time_ns,
        found_by_scan: false,
    }
}
