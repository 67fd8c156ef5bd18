//! Answers of reads, against the tree as it was at the answer's zxid.

use zabkeeper_core::client::{Failure, Request, Response};
use zabkeeper_core::types::{SessionId, Zxid};
use zabkeeper_core::wire::ErrorCode;
use zabkeeper_core::wire::client::{Stat, perms};

use crate::check::members::{CONFIG_PATH, Roster};
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
        | Request::Multi(_)
        | Request::Reconfig(_) => return Ok(()),
    };
    if path == CONFIG_PATH {
        return members(model, zxid, result);
    }
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

/// What a server shows of the members: until they were changed, since an epoch that only it knows.
fn members(model: &Model, zxid: Zxid, result: &Result<Response, Failure>) -> Result<(), String> {
    let (Ok(Response::Data(told)), Some(node)) = (result, model.at(CONFIG_PATH, zxid)) else {
        return Err(brief(result));
    };
    let text = told.data.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let shown = Roster::parse(&text).ok_or(format!("{text:?} names no members"))?;
    let version = Zxid(shown.version);
    is_roster(model, zxid, &shown)?;
    // When a server shows what it knows it writes its own time.
    let (data, mtime, mzxid) = (told.data.clone(), told.stat.mtime, version);
    let stat = Node { data, mtime, mzxid, ..node.clone() }.stat();
    match stat == told.stat {
        true => Ok(()),
        false => Err(format!("told {:?}, and {CONFIG_PATH} at {zxid} is {stat:?}", told.stat)),
    }
}

/// Whether a server that has applied all up to a zxid may take these for the members.
///
/// # Errors
/// Who they are.
pub(super) fn is_roster(model: &Model, zxid: Zxid, shown: &Roster) -> Result<(), String> {
    let data = model.at(CONFIG_PATH, zxid).and_then(|node| node.data.as_deref());
    let text = data.map(String::from_utf8_lossy).unwrap_or_default();
    let version = Zxid(shown.version);
    if model.may_bring(zxid, shown) {
        return Ok(());
    }
    let is_it = match Roster::parse(&text) {
        Some(first) if first.version == 0 => first.lines == shown.lines && version.counter() == 0,
        Some(roster) => roster == *shown,
        None => false,
    };
    match is_it {
        true => Ok(()),
        false => Err(format!("the members at {zxid} are {text:?}, not {:?}", shown.text())),
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
