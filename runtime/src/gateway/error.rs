//! What a client is told when it gets no answer, in OpenAI's form.
//!
//! `{"error": {"message", "type", "param", "code"}}`: `code` is one of a closed list of words, so that programs (and
//! the metrics' labels) can tell the reasons apart.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use conductor_core::action::RejectReason;
use conductor_core::units::Nanos;
use serde::Serialize;

/// Waiting for so long, or longer, is the Conductor's word for "never".
const NEVER: Nanos = Nanos::from_secs(86_400);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP's word for it.
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// The field of the request that it is about.
    pub param: Option<&'static str>,
    /// Seconds after which trying again may help.
    pub retry_after: Option<u64>,
    /// The connection is closed with it.
    pub closes: bool,
}

#[derive(Serialize)]
struct Outer<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'static str,
}

impl ApiError {
    /// An error with this status.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            retry_after: None,
            closes: false,
        }
    }

    /// A request that cannot be answered as it is.
    pub(super) fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid-request", message)
        }
    }

    /// A field that is known and would change the answer, which it cannot here.
    pub(super) fn unsupported(param: &'static str, expected: &str) -> Self {
        let message = format!("`{param}` is not supported, expected {expected}");
        Self {
            param: Some(param),
            ..Self::new(StatusCode::BAD_REQUEST, "unsupported", message)
        }
    }

    /// The gateway is shutting down.
    pub(super) fn draining() -> Self {
        Self {
            retry_after: Some(1),
            closes: true,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                "this gateway is shutting down",
            )
        }
    }

    /// The scheduler has ended.
    pub(super) fn ended() -> Self {
        let message = "the scheduler has ended before the answer was complete";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ended", message)
    }

    /// More requests than the gateway takes.
    pub(super) fn busy(most: usize) -> Self {
        let message = format!("{most} requests are under way, the most that this gateway takes");
        Self {
            retry_after: Some(1),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                RejectReason::TooManyRequests.name(),
                message,
            )
        }
    }

    /// The Conductor has turned the request away.
    pub(super) fn rejected(reason: RejectReason, retry_after: Nanos) -> Self {
        let (status, message) = match reason {
            RejectReason::NoPrefillNode => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no node is up that computes prompts",
            ),
            RejectReason::NoDecodeNode => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no node is up that can hold the request",
            ),
            RejectReason::PromptTooLong => (
                StatusCode::BAD_REQUEST,
                "the prompt is longer than any node can hold",
            ),
            RejectReason::TooManyRequests => (
                StatusCode::TOO_MANY_REQUESTS,
                "as many requests as the cluster takes are under way",
            ),
            RejectReason::PrefillLoad => (
                StatusCode::TOO_MANY_REQUESTS,
                "the first token would come later than its limit",
            ),
            RejectReason::DecodeLoad => (
                StatusCode::TOO_MANY_REQUESTS,
                "tokens would come more slowly than their limit",
            ),
            RejectReason::DecodeFull => (
                StatusCode::TOO_MANY_REQUESTS,
                "the node that was to answer had no room after the prompt was computed",
            ),
            RejectReason::TooLate => (
                StatusCode::TOO_MANY_REQUESTS,
                "it can no longer be done within its time",
            ),
            RejectReason::TooManyAttempts => (
                StatusCode::SERVICE_UNAVAILABLE,
                "it was lost with every node that tried it, as often as the policy allows",
            ),
        };
        let seconds = retry_after.0.div_ceil(Nanos::SECOND.0).max(1);
        let helps = status != StatusCode::BAD_REQUEST && retry_after < NEVER;
        Self {
            retry_after: helps.then_some(seconds),
            ..Self::new(status, reason.name(), message)
        }
    }

    /// OpenAI's word for the kind of error.
    const fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "service_unavailable",
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::NOT_FOUND => "not_found_error",
            _ => "invalid_request_error",
        }
    }

    /// The error as JSON.
    pub(super) fn body(&self) -> String {
        let error = Inner {
            message: &self.message,
            r#type: self.kind(),
            param: self.param,
            code: self.code,
        };
        serde_json::to_string(&Outer { error }).unwrap_or_default()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == RejectReason::TooManyAttempts.name() {
            // OpenAI's clients try again by themselves, but for this: it may be the request that nodes die of.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_said_in_whole_seconds_of_which_there_is_one() {
        let after = |nanos| ApiError::rejected(RejectReason::PrefillLoad, Nanos(nanos)).retry_after;
        assert_eq!(after(0), Some(1));
        assert_eq!(after(1_000_000_000), Some(1));
        assert_eq!(after(1_000_000_001), Some(2));
        assert_eq!(after(NEVER.0), None);
        let long = ApiError::rejected(RejectReason::PromptTooLong, Nanos::SECOND);
        assert_eq!((long.status.as_u16(), long.retry_after), (400, None));
        let nobody = ApiError::rejected(RejectReason::NoDecodeNode, Nanos::SECOND);
        assert_eq!((nobody.status.as_u16(), nobody.retry_after), (503, Some(1)));
    }
}
