//! Answers of reads, against the tree as it was at the answer's zxid.

use zabkeeper_core::client::{Failure, Request, Response};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::ErrorCode;
use zabkeeper_core::wire::client::{Stat, perms};

use crate::check::model::{Model, Node};
use crate::check::predict::permit;

/// Whether a read was answered as the tree was.
///
/// # Errors
/// What it should have been.
pub(super) fn check(
    model: &Model,
    session: SessionId,
    zxid: Zxid,
    request: &Request,
    result: &Result<Response, Failure>,
) -> Result<(), String> {
    let (path, wanted) = match request {
        Request::Exists(r)
        | Request::GetData(r)
        | Request::GetChildren(r)
        | Request::GetChildren2(r) => (&*r.path, perms::READ),
        Request::GetAcl(r) => (&*r.path, perms::READ | perms::ADMIN),
        Request::GetAllChildrenNumber(r) => (&*r.path, perms::READ),
        Request::GetEphemerals(r) => return ephemerals(model, session, zxid, &r.path, result),
        Request::Sync(r) => {
            return match result {
                Ok(Response::Path(told)) if *told == r.path => Ok(()),
                other => Err(format!("{other:?}")),
            };
        }
        Request::WhoAmI
        | Request::AddWatch(_)
        | Request::CheckWatches(_)
        | Request::RemoveWatches(_)
        | Request::Create(_)
        | Request::Create2(_)
        | Request::CreateContainer(_)
        | Request::CreateTtl(_)
        | Request::Delete(_)
        | Request::SetData(_)
        | Request::SetAcl(_)
        | Request::Multi(_) => return Ok(()),
    };
    let node = model.at(path, zxid);
    let refusal = match node {
        None => Some(ErrorCode::NoNode),
        Some(node) => permit(&node.acl, wanted).err(),
    };
    match (result, refusal, node) {
        (Ok(response), None, Some(node)) => shows(model, zxid, path, node, response),
        (Err(Failure::Refused(told)), Some(code), _) if *told == code => Ok(()),
        (_, Some(code), _) => {
            Err(format!("{}, and {path} at {zxid} is to be refused: {code:?}", brief(result)))
        }
        (_, None, _) => {
            let stat = node.map(Node::stat);
            Err(format!("{}, and {path} at {zxid} is there: {stat:?}", brief(result)))
        }
    }
}

fn shows(
    model: &Model,
    zxid: Zxid,
    path: &str,
    node: &Node,
    response: &Response,
) -> Result<(), String> {
    let stat_is = |told: &Stat| match node.stat() {
        stat if stat == *told => Ok(()),
        stat => Err(format!("told {told:?}, and {path} at {zxid} is {stat:?}")),
    };
    match response {
        Response::Stat(stat) => stat_is(stat),
        Response::Data(told) => {
            stat_is(&told.stat)?;
            if told.data == node.data {
                return Ok(());
            }
            let (told, data) = (told.data.as_deref(), node.data.as_deref());
            let start = |data: Option<&[u8]>| {
                let shown = data.map(|data| data.get(..data.len().min(40)).unwrap_or_default());
                format!("{:?}", shown.map(String::from_utf8_lossy))
            };
            Err(format!(
                "told {} of {path}, whose data at {zxid} is {} ({} and {} bytes)",
                start(told),
                start(data),
                told.map_or(0, <[u8]>::len),
                data.map_or(0, <[u8]>::len)
            ))
        }
        Response::Acl(told) => {
            stat_is(&told.stat)?;
            if told.acl[..] == node.acl[..] {
                return Ok(());
            }
            Err(format!("told {:?}, and the ACL of {path} at {zxid} is {:?}", told.acl, node.acl))
        }
        Response::Names(names) => {
            model.check_children(path, zxid, names.iter().map(|name| &**name))
        }
        Response::Children(names, stat) => {
            stat_is(stat)?;
            model.check_children(path, zxid, names.iter().map(|name| &**name))
        }
        Response::Count(told) => match model.descendants(path, zxid) {
            n if n as i32 == *told => Ok(()),
            n => Err(format!("told {told} nodes below {path}, and at {zxid} there are {n}")),
        },
        Response::Done
        | Response::Path(_)
        | Response::Created(_)
        | Response::Multi(_)
        | Response::Ids(_) => Err(String::from("an answer of another kind")),
    }
}

fn ephemerals(
    model: &Model,
    session: SessionId,
    zxid: Zxid,
    prefix: &str,
    result: &Result<Response, Failure>,
) -> Result<(), String> {
    match result {
        Ok(Response::Names(paths)) => {
            model.check_ephemerals(session, prefix, zxid, paths.iter().map(|path| &**path))
        }
        other => Err(brief(other)),
    }
}

fn brief(result: &Result<Response, Failure>) -> String {
    match result {
        Ok(response) => format!("{response:?}").chars().take(200).collect(),
        Err(failure) => failure.to_string(),
    }
}
