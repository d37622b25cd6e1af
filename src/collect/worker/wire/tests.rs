use super::*;
use crate::collect::worker::frame::{MAX_FRAME, frame, read_from};
use std::path::Path;

#[test]
fn links_survive_the_wire() {
    let links = [(0, Ok(&b"socket:[1]"[..])), (3, Err(libc::EACCES)), (9, Ok(b"")), (10, Ok(b"/a\xff"))];
    let links = links.map(|(number, target)| DescriptorLink { number, target });
    let mut page = DescriptorLinks::default();
    links.into_iter().for_each(|link| page.push(link));
    let bytes = frame(&page).unwrap();
    let read: DescriptorLinks = read_from(&mut &*bytes).unwrap();
    assert_eq!(read.iter().collect::<Vec<_>>(), links);
    // A length beyond the end of the buffer ends there.
    page.links[3].1 = Ok(u32::MAX);
    assert_eq!(page.iter().last(), Some(links[3]));
}

#[test]
fn messages_survive_the_wire() {
    let process = Identity { pid: 7, start_ticks: u64::MAX };
    let path = ForeignPath::of_process(process, Path::new("a b"));
    for request in [
        Request::CommandLine(7),
        Request::KernelFile { path: ByteBuf::from(b"/proc/\xff".to_vec()), limit: 9 },
        Request::DescriptorStats(process, vec![0, u32::MAX]),
        Request::List { path: path.clone(), containing: "hermes".to_owned(), limit: 5 },
        Request::Read { path: path.clone(), offset: u64::MAX - 1, limit: 24 },
        Request::Locks(path.clone(), vec![(0x4000_0000, 1), (u64::MAX, 0)]),
        Request::Exchange {
            socket: path,
            peer: Peer::Process(process),
            message: ByteBuf::from(b"POST /\0x".to_vec()),
            login: Some(Login { message: ByteBuf::from(b"x".to_vec()), owner: 0 }),
            until: Until::Pm2Message,
        },
        Request::Run { tool: Tool::Journalctl, arguments: vec!["-u".to_owned()], user: Some(1000), keep: 1 },
    ] {
        let bytes = frame(&request).unwrap();
        assert_eq!(read_from::<Request>(&mut &*bytes).unwrap(), request);
        assert!(read_from::<Request>(&mut &bytes[..bytes.len() - 1]).is_err());
    }
    // A request that hangs for one user is still made for another.
    let of = |user| Request::Run { tool: Tool::Systemctl, arguments: Vec::new(), user, keep: 1 }.what();
    assert!(of(None) != of(Some(1)) && of(Some(1)) != of(Some(2)));
    // A file of the same name in another process is read too; a second request for the same file is not.
    let file = |pid| ForeignPath::of_process(Identity { pid, start_ticks: 1 }, Path::new("/h/state.db"));
    let read = |pid| Request::Read { path: file(pid), offset: 0, limit: 1 }.waits_for();
    assert_ne!(read(1), read(2));
    assert_eq!(read(1), Request::Stat(file(1)).waits_for());
    let reply: Reply = Err(Failure::NotReadableBy(4000));
    assert_eq!(read_from::<Reply>(&mut &*frame(&reply).unwrap()).unwrap(), reply);
    assert!(frame(&ByteBuf::from(vec![0; MAX_FRAME])).is_err());
    assert!(read_from::<Request>(&mut &[0xff_u8, 0xff, 0xff, 0xff, 0][..]).is_err());
}
