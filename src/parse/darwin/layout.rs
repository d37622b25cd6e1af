//! Sizes, offsets and numbers of Apple's public headers: `sys/proc_info.h`, `sys/sysctl.h`, `sys/proc.h`,
//! `sys/un.h`.
//!
//! `tests/darwin/layout.c` checks each of them against those headers, and a test here checks that both lists
//! agree. On a Mac the sizes are also compared at compile time with the types of the `libc` and `libproc`
//! crates.

/// Defines a constant for each line, and lists all of them in the notation of `layout.c`.
macro_rules! layout {
    ($($name:ident = $kind:literal, $what:literal, $value:literal;)*) => {
        $(
            #[cfg_attr(not(target_os = "macos"), allow(dead_code, reason = "the calls themselves are macOS's"))]
            pub(crate) const $name: usize = $value;
        )*
        #[cfg(test)]
        const ALL: &[(&str, &str, usize)] = &[$(($kind, $what, $value)),*];
    };
}

layout! {
    KINFO_PROC = "SIZE", "kinfo_proc", 648;
    P_STARTTIME_SECONDS = "OFFSET", "kinfo_proc, kp_proc.p_starttime.tv_sec", 0;
    P_STARTTIME_MICROSECONDS = "OFFSET", "kinfo_proc, kp_proc.p_starttime.tv_usec", 8;
    P_FLAG = "OFFSET", "kinfo_proc, kp_proc.p_flag", 32;
    P_STAT = "OFFSET", "kinfo_proc, kp_proc.p_stat", 36;
    P_PID = "OFFSET", "kinfo_proc, kp_proc.p_pid", 40;
    P_COMM = "OFFSET", "kinfo_proc, kp_proc.p_comm", 243;
    P_RUID = "OFFSET", "kinfo_proc, kp_eproc.e_pcred.p_ruid", 392;
    E_PPID = "OFFSET", "kinfo_proc, kp_eproc.e_ppid", 560;
    E_PGID = "OFFSET", "kinfo_proc, kp_eproc.e_pgid", 564;

    PROC_TASKINFO = "SIZE", "proc_taskinfo", 96;
    PTI_RESIDENT_SIZE = "OFFSET", "proc_taskinfo, pti_resident_size", 8;
    PTI_TOTAL_USER = "OFFSET", "proc_taskinfo, pti_total_user", 16;
    PTI_TOTAL_SYSTEM = "OFFSET", "proc_taskinfo, pti_total_system", 24;
    PTI_THREADNUM = "OFFSET", "proc_taskinfo, pti_threadnum", 84;

    PROC_THREADINFO = "SIZE", "proc_threadinfo", 112;
    PTH_USER_TIME = "OFFSET", "proc_threadinfo, pth_user_time", 0;
    PTH_SYSTEM_TIME = "OFFSET", "proc_threadinfo, pth_system_time", 8;
    PTH_RUN_STATE = "OFFSET", "proc_threadinfo, pth_run_state", 24;
    PTH_NAME = "OFFSET", "proc_threadinfo, pth_name", 48;

    PROC_VNODEPATHINFO = "SIZE", "proc_vnodepathinfo", 2352;
    PVI_CDIR_PATH = "OFFSET", "proc_vnodepathinfo, pvi_cdir.vip_path", 152;

    PROC_FDINFO = "SIZE", "proc_fdinfo", 8;
    PROC_FD = "OFFSET", "proc_fdinfo, proc_fd", 0;
    PROC_FDTYPE = "OFFSET", "proc_fdinfo, proc_fdtype", 4;

    VNODE_FDINFOWITHPATH = "SIZE", "vnode_fdinfowithpath", 1200;
    VST_DEV = "OFFSET", "vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_dev", 24;
    VST_MODE = "OFFSET", "vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_mode", 28;
    VST_NLINK = "OFFSET", "vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_nlink", 30;
    VST_INO = "OFFSET", "vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_ino", 32;
    VST_SIZE = "OFFSET", "vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_size", 112;
    VIP_PATH = "OFFSET", "vnode_fdinfowithpath, pvip.vip_path", 176;

    SOCKET_FDINFO = "SIZE", "socket_fdinfo", 792;
    SOI_UID = "OFFSET", "socket_fdinfo, psi.soi_stat.vst_uid", 40;
    SOI_SO = "OFFSET", "socket_fdinfo, psi.soi_so", 160;
    SOI_PROTOCOL = "OFFSET", "socket_fdinfo, psi.soi_protocol", 180;
    SOI_FAMILY = "OFFSET", "socket_fdinfo, psi.soi_family", 184;
    SOI_QLEN = "OFFSET", "socket_fdinfo, psi.soi_qlen", 194;
    SOI_INCQLEN = "OFFSET", "socket_fdinfo, psi.soi_incqlen", 196;
    SOI_QLIMIT = "OFFSET", "socket_fdinfo, psi.soi_qlimit", 198;
    SOI_RCV_CC = "OFFSET", "socket_fdinfo, psi.soi_rcv.sbi_cc", 208;
    SOI_SND_CC = "OFFSET", "socket_fdinfo, psi.soi_snd.sbi_cc", 232;
    SOI_KIND = "OFFSET", "socket_fdinfo, psi.soi_kind", 256;
    INSI_FPORT = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_in.insi_fport", 264;
    INSI_LPORT = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_in.insi_lport", 268;
    INSI_VFLAG = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_in.insi_vflag", 288;
    INSI_FADDR = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_in.insi_faddr", 296;
    INSI_LADDR = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_in.insi_laddr", 312;
    TCPSI_STATE = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_tcp.tcpsi_state", 344;
    UNSI_ADDR = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_un.unsi_addr", 280;
    UNSI_CADDR = "OFFSET", "socket_fdinfo, psi.soi_proto.pri_un.unsi_caddr", 535;
    I46A_ADDR4 = "OFFSET", "in4in6_addr, i46a_addr4", 12;
    SUN_PATH = "OFFSET", "sockaddr_un, sun_path", 2;

    PIPE_FDINFO = "SIZE", "pipe_fdinfo", 184;
    PIPE_HANDLE = "OFFSET", "pipe_fdinfo, pipeinfo.pipe_handle", 160;
    PIPE_PEERHANDLE = "OFFSET", "pipe_fdinfo, pipeinfo.pipe_peerhandle", 168;

    P_TRACED = "VALUE", "P_TRACED", 0x800;
    SSTOP = "VALUE", "SSTOP", 4;
    SZOMB = "VALUE", "SZOMB", 5;
    TH_STATE_RUNNING = "VALUE", "TH_STATE_RUNNING", 1;
    TH_STATE_STOPPED = "VALUE", "TH_STATE_STOPPED", 2;
    TH_STATE_WAITING = "VALUE", "TH_STATE_WAITING", 3;
    TH_STATE_UNINTERRUPTIBLE = "VALUE", "TH_STATE_UNINTERRUPTIBLE", 4;
    TH_STATE_HALTED = "VALUE", "TH_STATE_HALTED", 5;
    PROX_FDTYPE_VNODE = "VALUE", "PROX_FDTYPE_VNODE", 1;
    PROX_FDTYPE_SOCKET = "VALUE", "PROX_FDTYPE_SOCKET", 2;
    PROX_FDTYPE_PIPE = "VALUE", "PROX_FDTYPE_PIPE", 6;
    SOCKINFO_IN = "VALUE", "SOCKINFO_IN", 1;
    SOCKINFO_TCP = "VALUE", "SOCKINFO_TCP", 2;
    SOCKINFO_UN = "VALUE", "SOCKINFO_UN", 3;
    INI_IPV4 = "VALUE", "INI_IPV4", 1;
    PROC_PIDLISTFDS = "VALUE", "PROC_PIDLISTFDS", 1;
    PROC_PIDTASKINFO = "VALUE", "PROC_PIDTASKINFO", 4;
    PROC_PIDTHREADINFO = "VALUE", "PROC_PIDTHREADINFO", 5;
    PROC_PIDLISTTHREADS = "VALUE", "PROC_PIDLISTTHREADS", 6;
    PROC_PIDVNODEPATHINFO = "VALUE", "PROC_PIDVNODEPATHINFO", 9;
    PROC_PIDFDVNODEPATHINFO = "VALUE", "PROC_PIDFDVNODEPATHINFO", 2;
    PROC_PIDFDSOCKETINFO = "VALUE", "PROC_PIDFDSOCKETINFO", 3;
    PROC_PIDFDPIPEINFO = "VALUE", "PROC_PIDFDPIPEINFO", 6;
    KERN_PROC_ALL = "VALUE", "KERN_PROC_ALL", 0;
    KERN_PROC_PID = "VALUE", "KERN_PROC_PID", 1;
    KERN_PROCARGS2 = "VALUE", "KERN_PROCARGS2", 49;
}

/// `MAXCOMLEN + 1` of `sys/param.h`.
pub(crate) const COMM_SIZE: usize = 17;
/// `MAXTHREADNAMESIZE` of `sys/proc_info.h`.
pub(crate) const THREAD_NAME_SIZE: usize = 64;
/// `MAXPATHLEN` of `sys/param.h`.
pub(crate) const PATH_SIZE: usize = 1024;
/// `SOCK_MAXADDRLEN` of `sys/socket.h`, less the two bytes before a Unix socket's path.
pub(crate) const SUN_PATH_SIZE: usize = 253;
/// Other kinds of descriptors by number (`PROX_FDTYPE_*` of `sys/proc_info.h`).
pub(crate) const OTHER_KINDS: &[(u32, &str)] = &[
    (0, "appletalk"),
    (3, "shared-memory"),
    (4, "semaphore"),
    (5, "kqueue"),
    (7, "fsevents"),
    (9, "netpolicy"),
    (10, "channel"),
    (11, "nexus"),
];

// Each field that is read is within its structure.
const _: () = assert!(E_PGID + 4 <= KINFO_PROC && P_COMM + COMM_SIZE <= KINFO_PROC);
const _: () = assert!(PTI_THREADNUM + 4 <= PROC_TASKINFO && PTH_NAME + THREAD_NAME_SIZE == PROC_THREADINFO);
const _: () = assert!(PVI_CDIR_PATH + PATH_SIZE <= PROC_VNODEPATHINFO);
const _: () = assert!(VIP_PATH + PATH_SIZE == VNODE_FDINFOWITHPATH);
const _: () = assert!(UNSI_CADDR + SUN_PATH + SUN_PATH_SIZE <= SOCKET_FDINFO && TCPSI_STATE + 4 <= SOCKET_FDINFO);
const _: () = assert!(PIPE_PEERHANDLE + 8 <= PIPE_FDINFO && PROC_FDTYPE + 4 == PROC_FDINFO);

// The same sizes, from the crates that were generated from the same headers.
#[cfg(target_os = "macos")]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<libc::proc_fdinfo>() == PROC_FDINFO);
    assert!(size_of::<libc::proc_taskinfo>() == PROC_TASKINFO);
    assert!(offset_of!(libc::proc_taskinfo, pti_threadnum) == PTI_THREADNUM);
    assert!(size_of::<libc::proc_threadinfo>() == PROC_THREADINFO);
    assert!(offset_of!(libc::proc_threadinfo, pth_run_state) == PTH_RUN_STATE);
    assert!(size_of::<libc::proc_vnodepathinfo>() == PROC_VNODEPATHINFO);
    assert!(size_of::<libproc::kinfo::KinfoProc>() == KINFO_PROC);
    assert!(size_of::<libproc::net_info::SocketFDInfo>() == SOCKET_FDINFO);
    assert!(offset_of!(libproc::net_info::SocketFDInfo, psi.soi_qlen) == SOI_QLEN);
    assert!(offset_of!(libproc::net_info::SocketFDInfo, psi.soi_proto) == INSI_FPORT);
};

#[cfg(test)]
mod tests {
    /// The compiler checks every value that is read against Apple's headers.
    #[test]
    fn the_proof_is_about_the_same_numbers() {
        let proof = include_str!("../../../tests/darwin/layout.c");
        for (kind, what, value) in super::ALL {
            let said = |value: &str| proof.contains(&format!("\n{kind}({what}, {value});\n"));
            assert!(said(&value.to_string()) || said(&format!("{value:#x}")), "{kind}({what}, {value})");
        }
    }
}
