//! What clients of a script ask.

use bytes::Bytes;
use zabkeeper_core::client::{MultiOp, Request};
use zabkeeper_core::wire::client::{
    Acl, CheckRequest, CreateRequest, DeleteRequest, Id, PathRequest, SetDataRequest,
    WatchedRequest,
};

use super::number;

/// `CreateMode.CONTAINER`.
const CONTAINER: i32 = 4;

/// `create /x ephemeral`, `get /x watch`, `multi create:/x check:/y`.
pub(super) fn request(words: &[&str]) -> Result<Request, String> {
    let (verb, rest) = words.split_first().ok_or("what shall the client ask?")?;
    if *verb == "multi" {
        return Ok(Request::Multi(rest.iter().map(|word| part(word)).collect::<Result<_, _>>()?));
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
