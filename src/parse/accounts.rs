//! Accounts and groups in the text of passwd(5) and group(5), parsed line by line. A damaged line affects no
//! other line.

/// One line of passwd(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// Login name.
    pub name: &'a [u8],
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory, an absolute path.
    pub home: &'a [u8],
}

/// The accounts of a passwd(5) text. Lines are skipped that are comments, have no name, refer to another source of
/// accounts (`+`, `-`), or have no absolute home.
pub fn accounts(text: &[u8]) -> impl Iterator<Item = Account<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let home = fields.nth(1)?;
        let is_whole = !name.is_empty() && !matches!(name[0], b'+' | b'-' | b'#') && home.starts_with(b"/");
        is_whole.then_some(())?;
        Some(Account { name, uid: number(uid)?, gid: number(gid)?, home })
    })
}

/// The account of a user id: the first one counts, as for getpwuid(3).
pub fn account(text: &[u8], uid: u32) -> Option<Account<'_>> {
    accounts(text).find(|account| account.uid == uid)
}

/// The user with the home directory that contains a path, by its text. The innermost home counts.
pub fn owner_of_home(passwd: &[u8], path: &[u8]) -> Option<u32> {
    let is_in = |account: &Account| {
        let home = account.home.strip_suffix(b"/").unwrap_or(account.home);
        let rest = path.strip_prefix(home).filter(|_| !home.is_empty());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    accounts(passwd).filter(is_in).max_by_key(|account| account.home.len()).map(|account| account.uid)
}

/// Ids of the groups that name a user as a member, in the text of group(5).
pub fn groups_of(text: &[u8], name: &[u8]) -> Vec<u32> {
    let mut found: Vec<u32> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let gid = number(fields.nth(2)?)?;
            fields.next()?.split(|byte| *byte == b',').any(|member| member == name).then_some(gid)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The user that a subordinate id belongs to, by the texts of subuid(5) and passwd(5). Subordinate ids of root
/// are left out: root gives them to containers, and each counts as an owner of its own.
pub fn owner_of(subordinate: &[u8], passwd: &[u8], uid: u32) -> Option<u32> {
    let name = subordinate.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, first, count) = (fields.next()?, number(fields.next()?)?, number(fields.next()?)?);
        (first..first.saturating_add(count)).contains(&uid).then_some(name)
    })?;
    let by_name = || accounts(passwd).find(|account| account.name == name).map(|account| account.uid);
    by_name().or_else(|| number(name)).filter(|owner| *owner != 0)
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_accounts_by_their_bytes() {
        let text =
            b"+nis:x:7:7::/no:/bin/sh\nroot:x:0:0:root:/root:/bin/bash\njo:x:7:8:Jos\xe9:/home/jos\xe9:/bin/sh\n\
            h:x:7:9::/second:/bin/sh\nlost:x:9:9\n:x:10:10::/h:\nx:x:11:a::/h:\nrel:x:12:12::home:";
        let shown = |uid| account(text, uid).map(|found| (found.name, found.gid, found.home));
        assert_eq!(shown(0), Some((&b"root"[..], 0, &b"/root"[..])));
        assert_eq!(shown(7), Some((&b"jo"[..], 8, &b"/home/jos\xe9"[..])));
        for uid in [9, 10, 11, 12, 13] {
            assert_eq!(account(text, uid), None, "{uid}");
        }
        assert_eq!(accounts(text).count(), 3);
        assert_eq!(account(b"", 0), None);
    }

    #[test]
    fn reads_groups_of_a_member() {
        let text = b"adm:x:4:syslog,jo\nbroken\njo:x:8:\nwheel:x:10:jo\nother:x:11:joe\nx:x:y:jo\nagain:x:10:jo";
        assert_eq!(groups_of(text, b"jo"), [4, 10]);
        assert_eq!(groups_of(text, b"nobody"), [0_u32; 0]);
    }

    #[test]
    fn finds_the_account_of_a_path() {
        let passwd = b"root:x:0:0::/root:\nsync:x:4:4::/:\njo:x:7:7::/home/jo/:\nnested:x:8:8::/home/jo/n:\n";
        let whose = |path: &str| owner_of_home(passwd, path.as_bytes());
        assert_eq!((whose("/root"), whose("/home/jo/x"), whose("/home/jo")), (Some(0), Some(7), Some(7)));
        assert_eq!((whose("/home/jo/n/.hermes"), whose("/home/joe"), whose("/srv")), (Some(8), None, None));
    }

    #[test]
    fn finds_the_owner_of_a_subordinate_id() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\njo:x:1000:8::/home/jo:/bin/sh\n";
        let subordinate = b"broken\nroot:50000:10\njo:100000:65536\n4000:165536:65536\nlost:300000:5\nx:y:z\n";
        let owner = |uid| owner_of(subordinate, passwd, uid);
        assert_eq!((owner(99_999), owner(100_000), owner(165_535)), (None, Some(1000), Some(1000)));
        assert_eq!((owner(165_536), owner(50_003), owner(300_001), owner(0)), (Some(4000), None, None, None));
        assert_eq!(owner_of(b"jo:4294967295:4294967295", passwd, u32::MAX), None);
    }
}
