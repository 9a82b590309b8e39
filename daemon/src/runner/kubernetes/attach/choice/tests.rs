use super::*;

fn refused(code: u16, reason: &str, message: &str) -> ApiError {
    ApiError::Refused {
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
        kind: String::new(),
        retry_after: None,
    }
}

fn forbidden(verb: &str) -> ApiError {
    let message = format!(
        "pods \"c1\" is forbidden: User \"u\" cannot {verb} resource \"pods/attach\" in API group \"\" in the namespace \"ns\""
    );
    refused(403, "Forbidden", &message)
}

/// kubernetes-streams 1.5 and 3.1.
#[test]
fn refusals_of_the_transport_are_told_from_those_of_the_attach() {
    for fault in [
        forbidden("get"),
        refused(403, "", "403 Forbidden"),
        refused(403, "", "unable to upgrade: unable to negotiate protocol: client supports [v9.x]"),
        refused(405, "", "bad method"),
        refused(400, "BadRequest", "Upgrade request required"),
        refused(400, "", "websockets are not for you"),
        refused(404, "", "404 page not found"),
        refused(200, "", "200 OK"),
        refused(501, "NotImplemented", "no"),
    ] {
        assert!(calls_for_another(&fault), "{fault}");
    }
    for fault in [
        refused(404, "NotFound", "pods \"nope\" not found"),
        refused(400, "BadRequest", "container zz is not valid for pod a3"),
        refused(400, "BadRequest", "pod b8 does not have a host assigned"),
        refused(401, "Unauthorized", "Unauthorized"),
        refused(429, "", "Too many requests, please try again later."),
        refused(500, "", "container worker not found in pod b9_default"),
        refused(503, "", "no endpoints"),
        ApiError::Unreachable { message: "refused".to_owned(), sent: false },
    ] {
        assert!(!calls_for_another(&fault), "{fault}");
    }
}

#[test]
fn what_worked_is_kept_for_each_account_and_namespace() {
    let choices = Choices::default();
    let key = |number: u8, namespace: &str| ([number; 32], namespace.to_owned());
    choices.keep(key(1, "a"), Transport::Spdy);
    assert_eq!(choices.order(&key(1, "a"))[0], Transport::Spdy);
    for other in [key(1, "b"), key(2, "a")] {
        assert_eq!(choices.order(&other)[0], Transport::WebSocket);
    }
    choices.keep(key(1, "a"), Transport::WebSocket);
    assert_eq!(choices.order(&key(1, "a"))[0], Transport::WebSocket);
    for number in 0..2 * LIMIT {
        choices.keep(key(1, &number.to_string()), Transport::Spdy);
    }
    assert_eq!(choices.lock().len(), LIMIT);
}

#[test]
fn the_role_is_blamed_for_its_own_refusals_only() {
    let refusals = |get, create| Refusals {
        namespace: "ns".to_owned(),
        refusals: vec![(Transport::WebSocket, get), (Transport::Spdy, create)],
    };
    let of_role = refusals(forbidden("get"), forbidden("create"));
    assert!(of_role.are_of_the_role());
    assert!(of_role.to_string().starts_with("by WebSocket: pods \"c1\" is forbidden"));
    assert!(of_role.to_string().contains("; by SPDY: pods \"c1\" is forbidden"));
    assert!(!refusals(forbidden("get"), refused(400, "BadRequest", "Upgrade request required")).are_of_the_role());
}
