//! Texts with which a server refuses (docs/wire E3, E6, E7, E8).

use towline_codec::Text;

use super::{Hdr, ServiceKind};

/// docs/wire E14: the parameter that says that a call was not begun, and its value.
pub(crate) const NOT_BEGUN: &str = "towline.not-begun";
pub(crate) const YES: &str = "1";
/// docs/wire E5: the parameter of a CallError that says that the connection stays.
pub(crate) const STAYS: &str = "towline.stays";
/// docs/wire E7
pub(crate) const TOO_MANY_CALLS: &str = "too many calls on this connection";
/// docs/wire E15
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "handlers are counted in the driver")
)]
pub(crate) const TOO_MANY_ON_SERVER: &str = "too many calls on this server";
/// docs/wire E15
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "handlers are counted in the driver")
)]
pub(crate) const TOO_MANY_OF_SERVICE: &str = "too many calls of this service";
/// docs/wire C19
pub(crate) const SHUTTING_DOWN: &str = "the server is shutting down";
/// docs/wire E6
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "handlers run in the driver")
)]
pub(crate) const HANDLER_PANICKED: &str = "handler panicked";
/// docs/wire E13: an argument that is missing.
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "arguments are read in the driver")
)]
pub(crate) const NO_ARGUMENT: &str = "EOF";
/// docs/wire E12
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "callers are known to the driver")
)]
pub(crate) const NOT_AUTHORISED: &str = "not authorised";
/// docs/wire E8
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "handlers run in the driver")
)]
pub(crate) const CALL_CANCELLED: &str = "context canceled";
/// docs/wire E8
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "handlers run in the driver")
)]
pub(crate) const DEADLINE_EXCEEDED: &str = "context deadline exceeded";
/// docs/wire E8, S5
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "handlers run in the driver")
)]
pub(crate) const STREAM_CANCELLED: &str = "context cancelled";

pub(crate) fn unknown_service(kind: ServiceKind, hdr: &Hdr) -> Text {
    let what = match kind {
        ServiceKind::NetRpc => return net_rpc_unknown("service", &hdr.service_name),
        ServiceKind::Call => "CallRPC begin received but no server side upcall registered for",
        ServiceKind::OneWay => "CallOneWay received but no server side upcall registered for",
        ServiceKind::Download => {
            "CallRequestDownload received but no server side upcall registered for"
        }
        ServiceKind::Bistream => {
            "CallRequestBistreaming received but no server side upcall registered for"
        }
        ServiceKind::Upload => {
            "CallUploadBegin stream begin received but no registered stream upload reader available on the server."
        }
    };
    compose(what, hdr)
}

/// docs/wire E13: what is unknown is a "service" or a "method".
pub(crate) fn net_rpc_unknown(what: &str, method: &Text) -> Text {
    Text::from(format!("rpc: can't find {what} {method}"))
}

/// docs/wire E13
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "names are looked up in the driver")
)]
pub(crate) fn net_rpc_ill_formed(method: &Text) -> Text {
    Text::from(format!("rpc: service/method request ill-formed: {method}"))
}

/// docs/wire S11
pub(crate) fn second_begin(hdr: &Hdr) -> Text {
    let typ = hdr.typ;
    compose(
        &format!("{typ} received while a stream with the same CallID is open."),
        hdr,
    )
}

fn compose(what: &str, hdr: &Hdr) -> Text {
    let (service, call_id) = (&hdr.service_name, &hdr.call_id);
    Text::from(format!(
        "error! {what} req.HDR.ServiceName='{service}'; req.HDR.CallID='{call_id}'"
    ))
}
