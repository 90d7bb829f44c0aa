//! Bounds what a guest has the host keep of requests that it makes. wasmtime takes texts of any length, and whoever has no grants may
//! make requests as well: they are refused only when they are sent.
//!
//! What is not here has a bound already: fields and trailers by [`super::FIELDS_BYTES_MAX`], schemes of 64 bytes by what parses them;
//! requests and responses that come in are not the guest's, and options are numbers.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::types::{self, Method};
use wasmtime_wasi_http::p2::body::HostOutgoingBody as OutgoingBody;
use wasmtime_wasi_http::p2::types::{HostOutgoingRequest as OutgoingRequest, HostOutgoingResponse as OutgoingResponse};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::access::SOCKETS_MAX;
use crate::sandbox::Sandbox;

/// What wasmtime-wasi-http registers; a test tells when that is another version.
const TYPES: &str = "wasi:http/types@0.2.12";

const SET_METHOD: &str = "[method]outgoing-request.set-method";
const SET_AUTHORITY: &str = "[method]outgoing-request.set-authority";
const SET_PATH: &str = "[method]outgoing-request.set-path-with-query";
const REQUEST_BODY: &str = "[method]outgoing-request.body";
const RESPONSE_BODY: &str = "[method]outgoing-response.body";

/// The longest method that is registered has 17 bytes.
const METHOD_BYTES_MAX: usize = 64;

/// A host's name has 253 bytes at most, and a port six with its colon.
const AUTHORITY_BYTES_MAX: usize = 300;

/// Most servers take no more.
const PATH_BYTES_MAX: usize = 8 << 10;

/// Requests with a body that are not sent yet: each body may hold two chunks. No more could be sent at a time.
const UNSENT_BODIES_MAX: usize = SOCKETS_MAX;

/// Takes the place of the functions that keep what has no bound.
pub(super) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    let mut types: LinkerInstance<'_, Sandbox> = linker.instance(TYPES)?;
    types.func_wrap(
        SET_METHOD,
        |mut store: StoreContextMut<'_, Sandbox>, (request, method): (Resource<OutgoingRequest>, Method)| {
            Ok((set_method(&mut store.data_mut().http(), request, method)?,))
        },
    )?;
    types.func_wrap(
        SET_AUTHORITY,
        |mut store: StoreContextMut<'_, Sandbox>, (request, authority): (Resource<OutgoingRequest>, Option<String>)| {
            Ok((set_authority(&mut store.data_mut().http(), request, authority)?,))
        },
    )?;
    types.func_wrap(
        SET_PATH,
        |mut store: StoreContextMut<'_, Sandbox>, (request, path): (Resource<OutgoingRequest>, Option<String>)| {
            Ok((set_path(&mut store.data_mut().http(), request, path)?,))
        },
    )?;
    types.func_wrap(REQUEST_BODY, |mut store: StoreContextMut<'_, Sandbox>, (request,): (Resource<OutgoingRequest>,)| {
        Ok((request_body(&mut store.data_mut().http(), request)?,))
    })?;
    // Nobody asks a function over HTTP, so that it has nobody to respond to.
    types.func_wrap(RESPONSE_BODY, |_: StoreContextMut<'_, Sandbox>, (_,): (Resource<OutgoingResponse>,)| {
        let refused: Result<Resource<OutgoingBody>, ()> = Err(());
        Ok((refused,))
    })
}

fn set_method(
    http: &mut WasiHttpCtxView<'_>,
    request: Resource<OutgoingRequest>,
    method: Method,
) -> wasmtime::Result<Result<(), ()>> {
    if matches!(&method, Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
        return Ok(Err(()));
    }
    types::HostOutgoingRequest::set_method(http, request, method)
}

fn set_authority(
    http: &mut WasiHttpCtxView<'_>,
    request: Resource<OutgoingRequest>,
    authority: Option<String>,
) -> wasmtime::Result<Result<(), ()>> {
    if authority.as_ref().is_some_and(|authority| authority.len() > AUTHORITY_BYTES_MAX) {
        return Ok(Err(()));
    }
    types::HostOutgoingRequest::set_authority(http, request, authority)
}

fn set_path(
    http: &mut WasiHttpCtxView<'_>,
    request: Resource<OutgoingRequest>,
    path: Option<String>,
) -> wasmtime::Result<Result<(), ()>> {
    if path.as_ref().is_some_and(|path| path.len() > PATH_BYTES_MAX) {
        return Ok(Err(()));
    }
    types::HostOutgoingRequest::set_path_with_query(http, request, path)
}

fn request_body(
    http: &mut WasiHttpCtxView<'_>,
    request: Resource<OutgoingRequest>,
) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
    if unsent_bodies(http.table) >= UNSENT_BODIES_MAX {
        return Ok(Err(()));
    }
    types::HostOutgoingRequest::body(http, request)
}

/// What is written to a body stays with its request until that is sent or dropped.
fn unsent_bodies(table: &mut ResourceTable) -> usize {
    let has_body = |request: &OutgoingRequest| request.body.is_some();
    table.iter_mut().filter(|resource| resource.downcast_ref::<OutgoingRequest>().is_some_and(has_body)).count()
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::super::Network;
    use super::*;

    fn make_request(http: &mut WasiHttpCtxView<'_>) -> Resource<OutgoingRequest> {
        let fields = types::HostFields::new(http).unwrap();
        types::HostOutgoingRequest::new(http, fields).unwrap()
    }

    fn again(request: &Resource<OutgoingRequest>) -> Resource<OutgoingRequest> {
        Resource::new_borrow(request.rep())
    }

    #[test]
    fn what_is_replaced_is_there() {
        let mut linker: Linker<Sandbox> = Linker::new(&Engine::default());
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        for name in [SET_METHOD, SET_AUTHORITY, SET_PATH, REQUEST_BODY, RESPONSE_BODY] {
            // A name is not given twice unless shadowing is allowed.
            let mut types = linker.instance(TYPES).unwrap();
            let added = types.func_wrap(name, |_: StoreContextMut<'_, Sandbox>, (): ()| Ok(()));
            assert!(added.is_err(), "{name}");
        }
        linker.allow_shadowing(true);
        add_to_linker(&mut linker).unwrap();
    }

    #[test]
    fn texts_of_a_request_are_bounded() {
        let (mut network, mut table) = (Network::of(&[], &[]), ResourceTable::new());
        let mut http = network.http(&mut table);
        let request = make_request(&mut http);
        for (bytes, kept) in [(METHOD_BYTES_MAX, true), (METHOD_BYTES_MAX + 1, false)] {
            let method = Method::Other("X".repeat(bytes));
            assert_eq!(set_method(&mut http, again(&request), method).unwrap().is_ok(), kept);
        }
        assert!(set_method(&mut http, again(&request), Method::Get).unwrap().is_ok());
        for (bytes, kept) in [(AUTHORITY_BYTES_MAX, true), (AUTHORITY_BYTES_MAX + 1, false)] {
            let authority = Some("a".repeat(bytes));
            assert_eq!(set_authority(&mut http, again(&request), authority).unwrap().is_ok(), kept);
        }
        assert!(set_authority(&mut http, again(&request), None).unwrap().is_ok());
        for (bytes, kept) in [(PATH_BYTES_MAX, true), (PATH_BYTES_MAX + 1, false)] {
            let path = Some("/".repeat(bytes));
            assert_eq!(set_path(&mut http, again(&request), path).unwrap().is_ok(), kept);
        }
        assert!(set_path(&mut http, again(&request), None).unwrap().is_ok());
    }

    #[test]
    fn bodies_that_are_not_sent_are_bounded() {
        let (mut network, mut table) = (Network::of(&[], &[]), ResourceTable::new());
        let mut http = network.http(&mut table);
        let mut requests = Vec::new();
        for _ in 0..UNSENT_BODIES_MAX {
            let request = make_request(&mut http);
            assert!(request_body(&mut http, again(&request)).unwrap().is_ok());
            requests.push(request);
        }
        let request = make_request(&mut http);
        assert!(request_body(&mut http, again(&request)).unwrap().is_err());
        types::HostOutgoingRequest::drop(&mut http, requests.pop().unwrap()).unwrap();
        assert!(request_body(&mut http, again(&request)).unwrap().is_ok());
    }

    #[test]
    fn fields_are_bounded_by_what_is_granted() {
        for (grants, fits) in [(&[][..], false), (&["*"][..], true)] {
            let (mut network, mut table) = (Network::of(grants, &[]), ResourceTable::new());
            let mut http = network.http(&mut table);
            for (bytes, fits) in [(4 << 10, true), (16 << 10, fits), (80 << 10, false)] {
                let fields = types::HostFields::new(&mut http).unwrap();
                let appended = types::HostFields::append(&mut http, fields, "x".to_owned(), vec![b'x'; bytes]);
                assert_eq!(appended.is_ok(), fits, "{grants:?} {bytes}");
            }
        }
    }
}
