//! COMPATIBILITY.md's table of operations, each sent to a server.

use super::*;

#[test]
fn every_operation_is_listed_and_served_or_refused_as_it_says() {
    let text = include_str!("../../../../COMPATIBILITY.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Operations")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut listed = Vec::new();
    for (row, n) in rows.zip(1..) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let code: i32 = cells[1].parse().unwrap();
        listed.push(code);
        assert!(OpCode::from_i32(code).is_some(), "{code} is no operation");
        let mut server = Server::new();
        let (conn, _) = server.client(n);
        // Too short for most: but they are known.
        server.push(conn, request(5, code, |out| out.put_i32(-1)));
        let heard = server.hear(conn);
        let refused = heard.iter().any(|heard| matches!(heard, Heard::Reply { err: -6, .. }));
        let is_known = !heard.is_empty() && !refused;
        assert_eq!(cells[3] == "served", is_known, "{row}: {heard:?}");
    }
    for code in (-20..200).filter(|code| OpCode::from_i32(*code).is_some()) {
        assert!(listed.contains(&code), "{code} is missing");
    }
}
