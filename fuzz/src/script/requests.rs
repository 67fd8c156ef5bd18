//! What clients of a script ask.

use bytes::Bytes;
use zabkeeper_core::client::{MultiOp, Request};
use zabkeeper_core::wire::client::{
    Acl, CheckRequest, CreateRequest, DeleteRequest, Id, PathRequest, ReconfigRequest,
    SetDataRequest, WatchedRequest,
};

use super::number;
use crate::clients::member_line;

/// `CreateMode.CONTAINER`.
const CONTAINER: i32 = 4;

/// `create /x ephemeral`, `get /x watch`, `multi create:/x check:/y`.
pub(super) fn request(words: &[&str]) -> Result<Request, String> {
    let (verb, rest) = words.split_first().ok_or("what shall the client ask?")?;
    if *verb == "multi" {
        return Ok(Request::Multi(rest.iter().map(|word| part(word)).collect::<Result<_, _>>()?));
    }
    if *verb == "reconfig" {
        return reconfig(rest).map(Request::Reconfig);
    }
    let path = *rest.first().ok_or("a path is missing")?;
    let has = |word: &str| rest.contains(&word);
    let watched = || WatchedRequest { path: path.into(), watch: has("watch") };
    Ok(match *verb {
        "create" => {
            let size = rest.iter().find_map(|word| word.strip_prefix("size="));
            let size = size.map_or(Ok(0), |size| number(Some(&size)))? as usize;
            let flags = i32::from(has("ephemeral")) | (i32::from(has("sequential")) << 1);
            match has("container") {
                true => Request::CreateContainer(creation(path, size, CONTAINER)),
                false => Request::Create(creation(path, size, flags)),
            }
        }
        "delete" => Request::Delete(DeleteRequest { path: path.into(), version: -1 }),
        "set" => Request::SetData(setting(path, rest.get(1).copied().unwrap_or_default())),
        "get" => Request::GetData(watched()),
        "exists" => Request::Exists(watched()),
        "children" => Request::GetChildren(watched()),
        "sync" => Request::Sync(PathRequest { path: path.into() }),
        _ => return Err(format!("{verb} is nothing a client can ask")),
    })
}

/// `reconfig join=4 join=5:observer leave=1`, or `reconfig members=1,2,3`.
fn reconfig(words: &[&str]) -> Result<ReconfigRequest, String> {
    let line = |member: &str| {
        let (id, role) = member.split_once(':').unwrap_or((member, "participant"));
        let id = number(Some(&id))? as i64;
        Ok(format!("server.{id}={}", member_line(id, role == "observer")))
    };
    let (mut joining, mut leaving, mut members) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        match word.split_once('=') {
            Some(("join", member)) => joining.push(line(member)?),
            Some(("leave", id)) => leaving.push(String::from(id)),
            Some(("members", all)) => {
                members = all.split(',').map(line).collect::<Result<_, String>>()?;
            }
            _ => return Err(format!("{word} is nothing that changes members")),
        }
    }
    let text = |all: Vec<String>| Some(all.join(",").into()).filter(|_| !all.is_empty());
    Ok(ReconfigRequest {
        joining: text(joining),
        leaving: text(leaving),
        members: text(members),
        from: -1,
    })
}

/// `create:/a`, `delete:/a`, `set:/a` or `check:/a`.
fn part(word: &str) -> Result<MultiOp, String> {
    let (verb, path) = word.split_once(':').ok_or(format!("{word} is not verb:path"))?;
    Ok(match verb {
        "create" => MultiOp::Create(creation(path, 0, 0)),
        "delete" => MultiOp::Delete(DeleteRequest { path: path.into(), version: -1 }),
        "set" => MultiOp::SetData(setting(path, "multi")),
        "check" => MultiOp::Check(CheckRequest { path: path.into(), version: -1 }),
        _ => return Err(format!("{verb} is no part of a multi")),
    })
}

fn creation(path: &str, size: usize, flags: i32) -> CreateRequest {
    let id = Id { scheme: "world".into(), id: "anyone".into() };
    let (data, acl) = (Some(Bytes::from(vec![b'x'; size])), vec![Acl { perms: 31, id }]);
    CreateRequest { path: path.into(), data, acl, flags }
}

fn setting(path: &str, text: &str) -> SetDataRequest {
    let data = Some(Bytes::from(String::from(text)));
    SetDataRequest { path: path.into(), data, version: -1 }
}
