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
const CALL_CANCELLED: &str = "context canceled";
/// docs/wire E8
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "handlers run in the driver")
)]
pub(crate) const DEADLINE_EXCEEDED: &str = "context deadline exceeded";
/// docs/wire E8, S5
const STREAM_CANCELLED: &str = "context cancelled";

/// docs/wire E8, S5
pub(crate) const fn cancelled(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Upload | ServiceKind::Download => STREAM_CANCELLED,
        ServiceKind::Call | ServiceKind::OneWay | ServiceKind::NetRpc | ServiceKind::Bistream => {
            CALL_CANCELLED
        }
    }
}

pub(crate) fn unknown_service(kind: ServiceKind, hdr: &Hdr) -> Text {
    let what = match kind {
        ServiceKind::NetRpc => return net_rpc_unknown("service", &hdr.service_name),
        ServiceKind::Call => NO_CALL,
        ServiceKind::OneWay => NO_ONE_WAY,
        ServiceKind::Download => NO_DOWNLOAD,
        ServiceKind::Bistream => NO_BISTREAM,
        ServiceKind::Upload => NO_UPLOAD,
    };
    compose(what, hdr)
}

const NO_CALL: &str = "CallRPC begin received but no server side upcall registered for";
const NO_ONE_WAY: &str = "CallOneWay received but no server side upcall registered for";
const NO_DOWNLOAD: &str = "CallRequestDownload received but no server side upcall registered for";
const NO_BISTREAM: &str =
    "CallRequestBistreaming received but no server side upcall registered for";
const NO_UPLOAD: &str = "CallUploadBegin stream begin received but no registered stream upload reader available on the server.";

/// docs/wire E3: the name in a text that [`unknown_service`] makes, and nothing of any other text.
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "callers are told by the driver")
)]
pub(crate) fn unknown_service_name(text: &Text) -> Option<Text> {
    let (what, rest) = text
        .to_str()
        .ok()?
        .strip_prefix("error! ")?
        .split_once(" req.HDR.ServiceName='")?;
    let texts = [NO_CALL, NO_ONE_WAY, NO_DOWNLOAD, NO_BISTREAM, NO_UPLOAD];
    let (name, _) = rest.rsplit_once("'; req.HDR.CallID='")?;
    texts.contains(&what).then(|| Text::from(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire E3
    #[test]
    fn the_name_of_an_unknown_service_is_found_in_its_text_alone() {
        let hdr = |name: &str| Hdr {
            service_name: name.into(),
            call_id: "id".into(),
            ..Hdr::default()
        };
        let kinds = [
            ServiceKind::Call,
            ServiceKind::OneWay,
            ServiceKind::Upload,
            ServiceKind::Download,
            ServiceKind::Bistream,
        ];
        for kind in kinds {
            for name in ["nobody", "", "it's", "'; req.HDR.CallID='", "a\nb"] {
                let text = unknown_service(kind, &hdr(name));
                assert_eq!(unknown_service_name(&text), Some(name.into()), "{text}");
            }
        }
        let mut other = hdr("nobody");
        other.typ = super::super::CallType::UPLOAD_BEGIN;
        for text in [
            second_begin(&other),
            unknown_service(ServiceKind::NetRpc, &other),
            "error! req.HDR.ServiceName='x'; req.HDR.CallID='y'".into(),
            Text::from(TOO_MANY_CALLS),
            Text::EMPTY,
        ] {
            assert_eq!(unknown_service_name(&text), None, "{text}");
        }
    }
}
