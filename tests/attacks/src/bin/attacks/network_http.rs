//! Sends a request to a service of the node's own machine, by the host's own HTTP client instead of a socket. The network is
//! denied there, too.

#[cfg(target_family = "wasm")]
#[burla::function]
fn attack(address: String) -> Vec<String> {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

    let port = address.rsplit(':').next().unwrap_or_default();
    let hosts = ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"];
    let mut answers = Vec::new();
    for authority in hosts.map(|host| format!("{host}:{port}")) {
        let request = OutgoingRequest::new(Fields::new());
        let is_set = request.set_scheme(Some(&Scheme::Http)).is_ok() && request.set_authority(Some(&authority)).is_ok();
        if !is_set || request.set_path_with_query(Some("/latest/meta-data/")).is_err() {
            continue;
        }
        let Ok(response) = handle(request, None) else { continue };
        response.subscribe().block();
        if let Some(Ok(Ok(response))) = response.get() {
            answers.push(format!("{authority} answered {}", response.status()));
        }
    }
    answers
}
