//! kubernetes-streams 7: what is not created, and who may not do what.

use serde_json::{Value, json};

use crate::contract;
use crate::raw::cluster::{PODS, pod_object, script, unique};

/// A pod that would be good, under that name.
fn named(name: &str) -> Value {
    pod_object(json!({"name": name}), script("true"))
}

contract! {
    fn version_says_which(cluster) {
        let answer = cluster.admin.get("/version");
        assert_eq!(answer.code(), 200);
        assert_eq!(answer.json()["major"], "1");
    }

    fn the_same_name_again(cluster) {
        let pod = cluster.pod(script("sleep 100"));
        let again = cluster.admin.post(PODS, &named(&pod.name));
        again.assert_status(409, "AlreadyExists", &format!("pods \"{}\" already exists", pod.name));
        assert_eq!(again.json()["details"], json!({"name": pod.name, "kind": "pods"}));
    }

    fn generated_names(cluster) {
        let pod = cluster.pod_with(json!({"generateName": "gen-"}), script("true"));
        let suffix = pod.name.strip_prefix("gen-").unwrap();
        assert_eq!(suffix.len(), 5);
        assert!(suffix.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)), "{suffix}");
        assert_eq!(pod.created["metadata"]["generateName"], "gen-");
    }

    fn what_a_new_pod_looks_like(cluster) {
        let pod = cluster.pod(script("true"));
        let (spec, metadata) = (&pod.created["spec"], &pod.created["metadata"]);
        assert_eq!(metadata["namespace"], "default");
        assert_eq!(pod.uid.len(), 36);
        assert_eq!(pod.created["status"]["phase"], "Pending");
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(spec["terminationGracePeriodSeconds"], 5);
        assert_eq!(spec["dnsPolicy"], "ClusterFirst");
        assert_eq!(spec.get("nodeName"), None);
    }

    fn no_namespace(cluster) {
        let answer = cluster.admin.post("/api/v1/namespaces/nosuch/pods", &named("a"));
        answer.assert_status(404, "NotFound", "namespaces \"nosuch\" not found");
    }

    fn another_namespace_in_the_body(cluster) {
        let mut pod = named("a");
        pod["metadata"]["namespace"] = json!("other");
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        cluster.admin.post(PODS, &pod).assert_status(400, "BadRequest", message);
    }

    fn nothing_to_run(cluster) {
        let answer = cluster.admin.post(PODS, &pod_object(json!({"name": "a"}), json!({"containers": []})));
        answer.assert_status(422, "Invalid", "Pod \"a\" is invalid: spec.containers: Required value");
        let causes = json!([{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers"}]);
        assert_eq!(answer.json()["details"], json!({"name": "a", "kind": "Pod", "causes": causes}));
    }

    fn a_bad_name(cluster) {
        let answer = cluster.admin.post(PODS, &named("Bad_Name"));
        assert_eq!(answer.code(), 422);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        let start = "Pod \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must consist of";
        assert!(message.starts_with(start), "{message}");
    }

    fn several_mistakes_at_once(cluster) {
        let spec = json!({"restartPolicy": "Foo", "containers": [{"name": "w"}, {"name": "w", "image": "x"}]});
        let answer = cluster.admin.post(PODS, &pod_object(json!({"name": "a"}), spec));
        let message = "Pod \"a\" is invalid: [spec.containers[0].image: Required value, spec.containers[1].name: Duplicate value: \"w\", spec.restartPolicy: Unsupported value: \"Foo\": supported values: \"Always\", \"OnFailure\", \"Never\"]";
        answer.assert_status(422, "Invalid", message);
    }

    fn an_unknown_field_is_dropped_with_a_warning(cluster) {
        let mut pod = named(&unique("contract"));
        pod["spec"]["bogus"] = json!(1);
        let answer = cluster.admin.post(PODS, &pod);
        assert_eq!(answer.code(), 201, "{}", answer.text());
        assert_eq!(answer.head.header("warning"), Some(r#"299 - "unknown field \"spec.bogus\"""#));
        assert_eq!(answer.json()["spec"].get("bogus"), None);
        let name = pod["metadata"]["name"].as_str().unwrap();
        cluster.admin.delete(&format!("{PODS}/{name}?gracePeriodSeconds=0"));
    }

    fn an_unknown_field_is_refused_when_strict(cluster) {
        let mut pod = named("a");
        pod["spec"]["bogus"] = json!(1);
        let answer = cluster.admin.post(&format!("{PODS}?fieldValidation=Strict"), &pod);
        let message = "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.bogus\"";
        answer.assert_status(400, "BadRequest", message);
    }

    fn a_wrong_type(cluster) {
        let answer = cluster.admin.post(PODS, &pod_object(json!({"name": "a"}), json!({"containers": "none"})));
        let status = answer.json();
        assert_eq!((answer.code(), status["reason"].as_str()), (400, Some("BadRequest")));
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with("Pod in version \"v1\" cannot be handled as a Pod: "), "{message}");
    }

    fn too_much(cluster) {
        let mut pod = named(&unique("contract"));
        pod["metadata"]["annotations"] = json!({"a": "x".repeat(262_145)});
        let answer = cluster.admin.post(PODS, &pod);
        assert_eq!(answer.code(), 422);
        assert!(answer.text().contains("metadata.annotations: Too long: may not be more than 262144 bytes"));

        pod["metadata"]["annotations"] = json!({});
        pod["spec"]["containers"][0]["args"] = json!(["x".repeat(1_600_000)]);
        let answer = cluster.admin.post(PODS, &pod);
        assert_eq!(answer.code(), 500);
        assert_eq!(answer.json()["message"], "etcdserver: request is too large");

        pod["spec"]["containers"][0]["args"] = json!(["x".repeat(3_145_729)]);
        let answer = cluster.admin.post(PODS, &pod);
        answer.assert_status(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
    }

    fn over_quota(cluster) {
        let namespace = unique("contract");
        let created = cluster.admin.post("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
        assert_eq!(created.code(), 201, "{}", created.text());
        let place = format!("/api/v1/namespaces/{namespace}");
        let account = json!({"metadata": {"name": "default"}});
        // Where a controller makes it, too, either may be first.
        cluster.admin.post(&format!("{place}/serviceaccounts"), &account);
        let quota = json!({"metadata": {"name": "rq"}, "spec": {"hard": {"pods": "0"}}});
        assert_eq!(cluster.admin.post(&format!("{place}/resourcequotas"), &quota).code(), 201);
        let quota_path = format!("{place}/resourcequotas/rq");
        while cluster.admin.get(&quota_path).json()["status"]["hard"]["pods"] != "0" {}
        let answer = cluster.admin.post(&format!("{place}/pods"), &named("c1"));
        let deleted = cluster.admin.delete(&place);
        let message = "pods \"c1\" is forbidden: exceeded quota: rq, requested: pods=1, used: pods=0, limited: pods=0";
        answer.assert_status(403, "Forbidden", message);
        assert_eq!(deleted.code(), 200);
    }

    fn nobody_in_particular(cluster) {
        let answer = cluster.admin.with_authorization(None).get(PODS);
        let message = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
        answer.assert_status(403, "Forbidden", message);
    }

    fn a_bad_token(cluster) {
        let client = cluster.admin.with_authorization(Some("Bearer bogus"));
        client.get(PODS).assert_status(401, "Unauthorized", "Unauthorized");
        client.get("/version").assert_status(401, "Unauthorized", "Unauthorized");
    }

    fn what_the_stock_role_may_not(cluster) {
        let Some(client) = cluster.restricted() else { return };
        let user = "User \"system:serviceaccount:default:restricted\"";
        let pod = cluster.pod(script("sleep 100"));
        for (method, path, message) in [
            ("GET", "/api/v1/namespaces".to_owned(), format!("namespaces is forbidden: {user} cannot list resource \"namespaces\" in API group \"\" at the cluster scope")),
            ("GET", "/api/v1/pods".to_owned(), format!("pods is forbidden: {user} cannot list resource \"pods\" in API group \"\" at the cluster scope")),
            ("GET", "/api/v1/namespaces/kube-system/pods".to_owned(), format!("pods is forbidden: {user} cannot list resource \"pods\" in API group \"\" in the namespace \"kube-system\"")),
            ("DELETE", PODS.to_owned(), format!("pods is forbidden: {user} cannot deletecollection resource \"pods\" in API group \"\" in the namespace \"default\"")),
            ("GET", format!("{}/attach", pod.path()), format!("pods \"{}\" is forbidden: {user} cannot get resource \"pods/attach\" in API group \"\" in the namespace \"default\"", pod.name)),
        ] {
            client.send(method, &path, None).assert_status(403, "Forbidden", &message);
        }
    }

    fn what_the_stock_role_may(cluster) {
        let Some(client) = cluster.restricted() else { return };
        let pod = cluster.pod(script("echo hi; sleep 100"));
        pod.until_running();
        assert_eq!(client.get(&pod.path()).code(), 200);
        assert_eq!(client.get(PODS).code(), 200);
        assert_eq!(client.get(&format!("{PODS}?watch=1&timeoutSeconds=1")).code(), 200);
        assert_eq!(client.get(&format!("{}/log", pod.path())).code(), 200);
        let denied = crate::raw::websocket::Session::open(client, &format!("{}/attach?stdout=true", pod.path()), "v5.channel.k8s.io");
        assert_eq!(denied.err().unwrap().code(), 403);
        assert_eq!(client.delete(&format!("{}?gracePeriodSeconds=0", pod.path())).code(), 200);
    }

    fn paths_that_lead_nowhere(cluster) {
        let message = "the server could not find the requested resource";
        cluster.admin.get("/api/v1/namespaces/default/bogus").assert_status(404, "NotFound", message);
        cluster.admin.get(&format!("{PODS}/nope")).assert_status(404, "NotFound", "pods \"nope\" not found");
        let answer = cluster.admin.get("/bogus");
        assert_eq!((answer.code(), answer.text().as_str()), (404, "404 page not found\n"));
    }
}
