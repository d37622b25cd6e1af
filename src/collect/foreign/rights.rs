//! The rights of other users. The worker takes them for one request and gives them back before the next.
//!
//! As root, a path is opened with the rights of the user that named it. On Linux these are the filesystem user and
//! group ids of the thread (setfsuid(2), setfsgid(2)) and its groups. With a filesystem user id other than 0, root's
//! capabilities over files are not in effect (capabilities(7)). On macOS these are the effective ids of the worker
//! process. An ordinary user's doctor cannot take other rights, and opens everything with its own.

use super::Failure;
use crate::parse::accounts::{account, groups_of};
use std::cell::RefCell;
use std::sync::OnceLock;

/// User and groups of the namer of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A group that owns nothing, for a user with unknown groups.
const NO_GROUP: u32 = 65_534;

impl Rights {
    /// The rights of a user, from passwd(5) and group(5). A user that only a name service knows gets no groups, because
    /// a query to a name service can hang.
    pub fn of_user(uid: u32) -> Self {
        let accounts = std::fs::read("/etc/passwd").unwrap_or_default();
        let Some(found) = account(&accounts, uid) else { return Self { uid, gid: NO_GROUP, groups: Vec::new() } };
        let groups = std::fs::read("/etc/group").unwrap_or_default();
        Self { uid, gid: found.gid, groups: groups_of(&groups, found.name) }
    }

    /// Takes these rights, where they differ from those of this process.
    ///
    /// # Errors
    /// [`Failure::Rights`] where they could not be taken. Nothing may be opened then.
    pub fn take(&self) -> Result<(), Failure> {
        if !is_root() || self.uid == 0 {
            return Ok(());
        }
        self.apply()?;
        LOWERED.with_borrow_mut(|lowered| {
            if !lowered.contains(self) {
                lowered.push(self.clone());
            }
        });
        Ok(())
    }

    fn apply(&self) -> Result<(), Failure> {
        let is_applied = system::set(self.uid, self.gid, &self.groups);
        is_applied.then_some(()).ok_or(Failure::Rights(self.uid))
    }
}

thread_local! {
    /// The rights that restrict one request: those of the process or user that named the path, and those of the owner
    /// of each link that was followed. Every open must be permitted by all of them.
    static LOWERED: RefCell<Vec<Rights>> = const { RefCell::new(Vec::new()) };
}

/// The users with the rights that restrict this request, in the order in which they were taken.
pub fn users() -> Vec<u32> {
    LOWERED.with_borrow(|lowered| lowered.iter().map(|rights| rights.uid).collect())
}

/// The user with the rights that were taken last: the owner of the last link that was followed.
pub fn reader() -> u32 {
    users().last().copied().unwrap_or_else(applied)
}

/// Runs `action` with the rights of each of these users in turn, the latest first. Returns the last result.
///
/// # Errors
/// The first error.
// On macOS rights are taken once, so it is not used.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub fn for_each_user<T>(mut action: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let all = LOWERED.with_borrow(Clone::clone);
    let Some((last, others)) = all.split_last().filter(|(_, others)| !others.is_empty()) else { return action() };
    let mut result = action()?;
    for rights in others {
        rights.apply()?;
        result = action()?;
    }
    last.apply()?;
    Ok(result)
}

/// Whether this process was started as root.
pub fn is_root() -> bool {
    static IS_ROOT: OnceLock<bool> = OnceLock::new();
    *IS_ROOT.get_or_init(|| rustix::process::geteuid().is_root())
}

/// Takes the rights of a user in the middle of a path, while root's rights still apply.
///
/// # Errors
/// As [`Rights::take`].
pub fn lower_to(uid: u32) -> Result<(), Failure> {
    if !is_root() || uid == 0 || are_lowered() {
        return Ok(());
    }
    Rights::of_user(uid).take()
}

/// Whether another user's rights apply instead of root's.
pub fn are_lowered() -> bool {
    is_root() && applied() != 0
}

/// The user with the rights that apply now.
pub fn applied() -> u32 {
    system::applied()
}

/// Restores the rights that this process was started with.
///
/// # Errors
/// [`Failure::Rights`] where they cannot be restored. The worker must end then.
pub fn restore() -> Result<(), Failure> {
    LOWERED.with_borrow_mut(Vec::clear);
    if !is_root() || applied() == 0 {
        return Ok(());
    }
    system::restore().then_some(()).ok_or(Failure::Rights(0))
}

/// The failure of an open. A refusal names the user where it is not the doctor's.
pub fn refused(error: rustix::io::Errno) -> Failure {
    let is_refusal = matches!(error, rustix::io::Errno::ACCESS | rustix::io::Errno::PERM);
    if is_refusal && are_lowered() { Failure::NotReadableBy(applied()) } else { error.into() }
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::process::{Gid, getgroups};
    use rustix::thread::{CapabilitySet, capabilities, set_thread_groups};
    use std::sync::OnceLock;

    /// The groups that this process was started with.
    static OWN_GROUPS: OnceLock<Vec<Gid>> = OnceLock::new();

    pub fn applied() -> u32 {
        // setfsuid(2) with an invalid id changes nothing and returns the current id.
        set_user(u32::MAX)
    }

    pub fn set(uid: u32, gid: u32, groups: &[u32]) -> bool {
        OWN_GROUPS.get_or_init(|| getgroups().unwrap_or_default());
        let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        // The groups are set first. That takes a capability, which the worker keeps.
        if set_thread_groups(&groups).is_err() {
            return false;
        }
        set_group(gid);
        set_user(uid);
        crate::collect::worker::end_with_parent();
        set_group(u32::MAX) == gid && applied() == uid && !overrides_permissions()
    }

    /// Whether capabilities over files are still in effect. A unit or a container that sets `no_setuid_fixup` keeps
    /// them (capabilities(7)).
    fn overrides_permissions() -> bool {
        let over_files = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER;
        capabilities(None).map_or(true, |sets| sets.effective.intersects(over_files))
    }

    pub fn restore() -> bool {
        let own = OWN_GROUPS.get_or_init(|| getgroups().unwrap_or_default());
        let gid = rustix::process::getegid().as_raw();
        set_user(0);
        set_group(gid);
        let has_groups = set_thread_groups(own).is_ok();
        crate::collect::worker::end_with_parent();
        has_groups && applied() == 0 && set_group(u32::MAX) == gid
    }

    fn set_user(uid: u32) -> u32 {
        #[allow(unsafe_code)]
        // SAFETY: changes an id of this thread and touches no memory.
        let before = unsafe { libc::setfsuid(uid) };
        u32::from_ne_bytes(before.to_ne_bytes())
    }

    fn set_group(gid: u32) -> u32 {
        #[allow(unsafe_code)]
        // SAFETY: as above.
        let before = unsafe { libc::setfsgid(gid) };
        u32::from_ne_bytes(before.to_ne_bytes())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn applied() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    pub fn set(uid: u32, gid: u32, groups: &[u32]) -> bool {
        let count = libc::c_int::try_from(groups.len()).unwrap_or(0);
        #[allow(unsafe_code)]
        // SAFETY: the list has `count` elements; the worker has one thread (setgroups(2), setegid(2), seteuid(2)).
        let is_set = unsafe {
            libc::setgroups(count, groups.as_ptr()) == 0 && libc::setegid(gid) == 0 && libc::seteuid(uid) == 0
        };
        is_set && applied() == uid && rustix::process::getegid().as_raw() == gid
    }

    pub fn restore() -> bool {
        #[allow(unsafe_code)]
        // SAFETY: as above; the real user id is still root's.
        let is_set =
            unsafe { libc::seteuid(0) == 0 && libc::setegid(0) == 0 && libc::setgroups(1, [0].as_ptr()) == 0 };
        is_set && applied() == 0
    }
}
