/*
 * What src/parse/darwin/layout.rs says of Apple's structures, proved against Apple's public headers, and images of
 * those structures as the compiler lays them out. Compiled for aarch64-macos and never linked or run: `build` takes
 * each image out of the object file's data. Every architecture of macOS that is left has these layouts.
 */
#include <libproc.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/proc.h>
#include <sys/proc_info.h>
#include <sys/socket.h>
#include <sys/sysctl.h>
#include <sys/un.h>

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == bytes, "size of " #type)
#define OFFSET(type, field, bytes) _Static_assert(offsetof(struct type, field) == bytes, "offset of " #type "." #field)
#define VALUE(name, number) _Static_assert(name == number, #name)

SIZE(kinfo_proc, 648);
OFFSET(kinfo_proc, kp_proc.p_starttime.tv_sec, 0);
OFFSET(kinfo_proc, kp_proc.p_starttime.tv_usec, 8);
OFFSET(kinfo_proc, kp_proc.p_flag, 32);
OFFSET(kinfo_proc, kp_proc.p_stat, 36);
OFFSET(kinfo_proc, kp_proc.p_pid, 40);
OFFSET(kinfo_proc, kp_proc.p_comm, 243);
OFFSET(kinfo_proc, kp_eproc.e_pcred.p_ruid, 392);
OFFSET(kinfo_proc, kp_eproc.e_ppid, 560);
OFFSET(kinfo_proc, kp_eproc.e_pgid, 564);

SIZE(proc_bsdinfo, 136);
SIZE(proc_taskinfo, 96);
OFFSET(proc_taskinfo, pti_resident_size, 8);
OFFSET(proc_taskinfo, pti_total_user, 16);
OFFSET(proc_taskinfo, pti_total_system, 24);
OFFSET(proc_taskinfo, pti_threadnum, 84);

SIZE(proc_threadinfo, 112);
OFFSET(proc_threadinfo, pth_user_time, 0);
OFFSET(proc_threadinfo, pth_system_time, 8);
OFFSET(proc_threadinfo, pth_run_state, 24);
OFFSET(proc_threadinfo, pth_name, 48);

SIZE(proc_vnodepathinfo, 2352);
OFFSET(proc_vnodepathinfo, pvi_cdir.vip_path, 152);

SIZE(proc_fdinfo, 8);
OFFSET(proc_fdinfo, proc_fd, 0);
OFFSET(proc_fdinfo, proc_fdtype, 4);

SIZE(vnode_fdinfowithpath, 1200);
OFFSET(vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_dev, 24);
OFFSET(vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_mode, 28);
OFFSET(vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_nlink, 30);
OFFSET(vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_ino, 32);
OFFSET(vnode_fdinfowithpath, pvip.vip_vi.vi_stat.vst_size, 112);
OFFSET(vnode_fdinfowithpath, pvip.vip_path, 176);

SIZE(socket_fdinfo, 792);
OFFSET(socket_fdinfo, psi.soi_stat.vst_uid, 40);
OFFSET(socket_fdinfo, psi.soi_so, 160);
OFFSET(socket_fdinfo, psi.soi_protocol, 180);
OFFSET(socket_fdinfo, psi.soi_family, 184);
OFFSET(socket_fdinfo, psi.soi_state, 192);
OFFSET(socket_fdinfo, psi.soi_qlen, 194);
OFFSET(socket_fdinfo, psi.soi_incqlen, 196);
OFFSET(socket_fdinfo, psi.soi_qlimit, 198);
OFFSET(socket_fdinfo, psi.soi_rcv.sbi_cc, 208);
OFFSET(socket_fdinfo, psi.soi_snd.sbi_cc, 232);
OFFSET(socket_fdinfo, psi.soi_kind, 256);
OFFSET(socket_fdinfo, psi.soi_proto.pri_in.insi_fport, 264);
OFFSET(socket_fdinfo, psi.soi_proto.pri_in.insi_lport, 268);
OFFSET(socket_fdinfo, psi.soi_proto.pri_in.insi_vflag, 288);
OFFSET(socket_fdinfo, psi.soi_proto.pri_in.insi_faddr, 296);
OFFSET(socket_fdinfo, psi.soi_proto.pri_in.insi_laddr, 312);
OFFSET(socket_fdinfo, psi.soi_proto.pri_tcp.tcpsi_state, 344);
OFFSET(socket_fdinfo, psi.soi_proto.pri_un.unsi_addr, 280);
OFFSET(socket_fdinfo, psi.soi_proto.pri_un.unsi_caddr, 535);
OFFSET(in4in6_addr, i46a_addr4, 12);
OFFSET(sockaddr_un, sun_path, 2);

SIZE(pipe_fdinfo, 184);
OFFSET(pipe_fdinfo, pipeinfo.pipe_handle, 160);
OFFSET(pipe_fdinfo, pipeinfo.pipe_peerhandle, 168);

VALUE(P_TRACED, 0x800);
VALUE(SSTOP, 4);
VALUE(SZOMB, 5);
VALUE(TH_STATE_RUNNING, 1);
VALUE(TH_STATE_STOPPED, 2);
VALUE(TH_STATE_WAITING, 3);
VALUE(TH_STATE_UNINTERRUPTIBLE, 4);
VALUE(TH_STATE_HALTED, 5);
VALUE(PROX_FDTYPE_VNODE, 1);
VALUE(PROX_FDTYPE_SOCKET, 2);
VALUE(PROX_FDTYPE_PIPE, 6);
VALUE(SOCKINFO_IN, 1);
VALUE(SOCKINFO_TCP, 2);
VALUE(SOCKINFO_UN, 3);
VALUE(INI_IPV4, 1);
VALUE(INI_IPV6, 2);
VALUE(TSI_S_LISTEN, 1);
VALUE(TSI_S_ESTABLISHED, 4);
VALUE(TSI_S__CLOSE_WAIT, 5);
VALUE(PROC_PIDLISTFDS, 1);
VALUE(PROC_PIDTASKINFO, 4);
VALUE(PROC_PIDTHREADINFO, 5);
VALUE(PROC_PIDLISTTHREADS, 6);
VALUE(PROC_PIDVNODEPATHINFO, 9);
VALUE(PROC_PIDFDVNODEPATHINFO, 2);
VALUE(PROC_PIDFDSOCKETINFO, 3);
VALUE(PROC_PIDFDPIPEINFO, 6);
VALUE(CTL_KERN, 1);
VALUE(KERN_PROC, 14);
VALUE(KERN_PROC_ALL, 0);
VALUE(KERN_PROC_PID, 1);
VALUE(KERN_PROCARGS2, 49);

/* Network byte order of a port in the int that the kernel keeps it in. */
#define PORT(number) ((((number) & 0xff) << 8) | ((number) >> 8))
#define IPV4(a, b, c, d) ((a) | (b) << 8 | (c) << 16 | (unsigned)(d) << 24)

#define IMAGE __attribute__((used, section("__DATA,__const")))

/* Four processes: launchd, a supervised server, one that is stopped by a debugger, and a zombie. */
IMAGE struct kinfo_proc image_processes[4] = {
    {.kp_proc = {.p_starttime = {.tv_sec = 1790000000, .tv_usec = 0}, .p_stat = SRUN, .p_pid = 1, .p_comm = "launchd"}},
    {.kp_proc = {.p_starttime = {.tv_sec = 1790000100, .tv_usec = 250000},
                 .p_flag = P_LP64 | P_EXEC,
                 .p_stat = SRUN,
                 .p_pid = 48213,
                 .p_comm = "python3.13"},
     .kp_eproc = {.e_pcred = {.p_ruid = 501, .p_svuid = 501}, .e_ppid = 1, .e_pgid = 48213}},
    {.kp_proc = {.p_starttime = {.tv_sec = 1790000200, .tv_usec = 990000},
                 .p_flag = P_TRACED,
                 .p_stat = SSTOP,
                 .p_pid = 500,
                 .p_comm = "sixteen-bytes-ok"},
     .kp_eproc = {.e_pcred = {.p_ruid = 502}, .e_ppid = 499, .e_pgid = 500}},
    {.kp_proc = {.p_starttime = {.tv_sec = 1790000300, .tv_usec = 1}, .p_stat = SZOMB, .p_pid = 501, .p_comm = "hermes"},
     .kp_eproc = {.e_ppid = 48213}},
};

IMAGE struct proc_taskinfo image_task = {.pti_virtual_size = 411ULL << 30,
                                         .pti_resident_size = 73400320,
                                         .pti_total_user = 24000000,
                                         .pti_total_system = 2400000,
                                         .pti_threadnum = 60};

IMAGE struct proc_threadinfo image_threads[3] = {
    {.pth_user_time = 4000000, .pth_system_time = 1000000, .pth_run_state = TH_STATE_WAITING, .pth_name = "MainThread"},
    {.pth_user_time = 0xffffffffee6b2800ULL, .pth_run_state = TH_STATE_RUNNING},
    {.pth_run_state = TH_STATE_UNINTERRUPTIBLE, .pth_name = "worker\x1b[31m"},
};

IMAGE struct proc_vnodepathinfo image_directories = {.pvi_cdir = {.vip_path = "/Users/h/hermes-agent"},
                                                     .pvi_rdir = {.vip_path = ""}};

IMAGE struct proc_fdinfo image_list[5] = {{0, PROX_FDTYPE_VNODE},
                                          {1, PROX_FDTYPE_PIPE},
                                          {3, PROX_FDTYPE_KQUEUE},
                                          {4, PROX_FDTYPE_SOCKET},
                                          {5, 77}};

/* A database, the log of one that was unlinked, a device, a directory. */
IMAGE struct vnode_fdinfowithpath image_vnodes[4] = {
    {.pvip = {.vip_vi = {.vi_stat = {.vst_dev = 16777232,
                                     .vst_mode = S_IFREG | 0644,
                                     .vst_nlink = 1,
                                     .vst_ino = 12345678901ULL,
                                     .vst_size = 409600}},
              .vip_path = "/Users/h/.hermes/state.db"}},
    {.pvip = {.vip_vi = {.vi_stat = {.vst_dev = 16777232,
                                     .vst_mode = S_IFREG | 0644,
                                     .vst_nlink = 0,
                                     .vst_ino = 12345678902ULL,
                                     .vst_size = 4152}},
              .vip_path = "/Users/h/.hermes/state.db-wal"}},
    {.pvip = {.vip_vi = {.vi_stat = {.vst_dev = 1, .vst_mode = S_IFCHR | 0666, .vst_nlink = 1, .vst_ino = 308}},
              .vip_path = "/dev/null"}},
    {.pvip = {.vip_vi = {.vi_stat = {.vst_dev = 16777232, .vst_mode = S_IFDIR | 0755, .vst_nlink = 4, .vst_ino = 2}},
              .vip_path = "/Users/h"}},
};

#define V4(address) {.ina_46 = {.i46a_addr4 = {.s_addr = address}}}

/*
 * A listener with three connections in its queue, one of them not complete yet; CLOSE-WAIT over IPv4 in an IPv6
 * socket; an established IPv6 connection; UDP; a Unix socket; and a route socket, which has no details.
 */
IMAGE struct socket_fdinfo image_sockets[6] = {
    {.psi = {.soi_stat = {.vst_uid = 501},
             .soi_so = 0xfeedface00000001ULL,
             .soi_type = SOCK_STREAM,
             .soi_protocol = IPPROTO_TCP,
             .soi_family = AF_INET,
             .soi_qlen = 3,
             .soi_incqlen = 1,
             .soi_qlimit = 64,
             .soi_kind = SOCKINFO_TCP,
             .soi_proto.pri_tcp = {.tcpsi_ini = {.insi_lport = PORT(8787),
                                                 .insi_vflag = INI_IPV4,
                                                 .insi_laddr = V4(IPV4(127, 0, 0, 1))},
                                   .tcpsi_state = TSI_S_LISTEN}}},
    {.psi = {.soi_stat = {.vst_uid = 501},
             .soi_so = 0xfeedface00000002ULL,
             .soi_type = SOCK_STREAM,
             .soi_protocol = IPPROTO_TCP,
             .soi_family = AF_INET6,
             .soi_rcv = {.sbi_cc = 25},
             .soi_snd = {.sbi_cc = 7},
             .soi_kind = SOCKINFO_TCP,
             .soi_proto.pri_tcp = {.tcpsi_ini = {.insi_fport = PORT(443),
                                                 .insi_lport = PORT(50123),
                                                 .insi_vflag = INI_IPV4,
                                                 .insi_faddr = V4(IPV4(149, 154, 167, 220)),
                                                 .insi_laddr = V4(IPV4(192, 168, 1, 20))},
                                   .tcpsi_state = TSI_S__CLOSE_WAIT}}},
    {.psi = {.soi_stat = {.vst_uid = 501},
             .soi_so = 0xfeedface00000003ULL,
             .soi_type = SOCK_STREAM,
             .soi_protocol = IPPROTO_TCP,
             .soi_family = AF_INET6,
             .soi_kind = SOCKINFO_TCP,
             .soi_proto.pri_tcp = {.tcpsi_ini = {.insi_fport = PORT(40000),
                                                 .insi_lport = PORT(8787),
                                                 .insi_vflag = INI_IPV6,
                                                 .insi_faddr.ina_6.__u6_addr.__u6_addr8 = {[15] = 1},
                                                 .insi_laddr.ina_6.__u6_addr.__u6_addr8 = {[15] = 1}},
                                   .tcpsi_state = TSI_S_ESTABLISHED}}},
    {.psi = {.soi_so = 0xfeedface00000004ULL,
             .soi_type = SOCK_DGRAM,
             .soi_protocol = IPPROTO_UDP,
             .soi_family = AF_INET,
             .soi_kind = SOCKINFO_IN,
             .soi_proto.pri_in = {.insi_lport = PORT(5353), .insi_vflag = INI_IPV4}}},
    {.psi = {.soi_so = 0xfeedface00000005ULL,
             .soi_type = SOCK_STREAM,
             .soi_family = AF_UNIX,
             .soi_kind = SOCKINFO_UN,
             .soi_proto.pri_un = {.unsi_addr.ua_sun = {.sun_len = 17, .sun_family = AF_UNIX, .sun_path = "/tmp/hermes.sock"}}}},
    {.psi = {.soi_so = 0xfeedface00000006ULL, .soi_type = SOCK_RAW, .soi_family = PF_ROUTE, .soi_kind = SOCKINFO_GENERIC}},
};

IMAGE struct pipe_fdinfo image_pipe = {
    .pipeinfo = {.pipe_handle = 0xabcdef0100000001ULL, .pipe_peerhandle = 0xabcdef0100000002ULL}};
