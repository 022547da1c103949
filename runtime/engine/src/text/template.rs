//! A conversation as the text of a prompt.
//!
//! Models bring Jinja templates that were written for Python; minijinja runs them, with Python's methods of strings and
//! lists and the two functions that Hugging Face adds. A template is code from a file, so what it may do is bounded by
//! what minijinja gives it: text.

use super::TextError;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use std::sync::Arc;

/// ChatML, for models that bring no template.
const CHAT_ML: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                       {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Instructions that one conversation may take: some hundred a message, so a hundred thousand messages.
const FUEL: u64 = 10_000_000;

/// The name of the one template.
const NAME: &str = "chat";

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or whatever else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

/// A parsed template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    begin: String,
    end: String,
}

impl ChatTemplate {
    /// Parses a template; `begin` and `end` are the texts of the special tokens that it may write.
    pub fn new(text: &str, begin: String, end: String) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        // As `transformers` sets it.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(said)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| {
            Err::<String, _>(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(said)?;
        Ok(Self {
            environment: Arc::new(environment),
            begin,
            end,
        })
    }

    /// ChatML: `<|im_start|>role`, the text, `<|im_end|>`.
    #[must_use]
    pub fn chat_ml() -> Self {
        Self::new(CHAT_ML, String::new(), String::new()).expect("ChatML is a template")
    }

    /// The prompt of a conversation to which the model is to answer.
    pub fn render(&self, messages: &[Message]) -> Result<String, TextError> {
        let template = self.environment.get_template(NAME).map_err(said)?;
        let one = |message: &Message| {
            context! {
                role => message.role.as_str(),
                content => message.content.as_str(),
            }
        };
        let values = context! {
            messages => messages.iter().map(one).collect::<Vec<Value>>(),
            add_generation_prompt => true,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
        };
        template.render(values).map_err(said)
    }
}

/// In one line.
fn said(error: Error) -> TextError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    TextError::Template(text.lines().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }

    #[test]
    fn chat_ml_marks_who_speaks() {
        let messages = [
            message("system", "Be brief."),
            message("user", "Hi {{ x }}"),
        ];
        let text = ChatTemplate::chat_ml().render(&messages).expect("text");
        assert_eq!(
            text,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi {{ x }}<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn templates_that_were_written_for_python_run() {
        let text = "{{ bos_token }}{% for m in messages %}\n  {% if m['role'].startswith('u') %}\n\
                    {{ m['content'].strip() | upper }}{{ eos_token }}\n  {% endif %}\n{% endfor %}";
        let template = ChatTemplate::new(text, "<s>".into(), "</s>".into()).expect("parses");
        let messages = [message("user", "  hi "), message("system", "x")];
        assert_eq!(template.render(&messages).expect("text"), "<s>HI</s>\n");
    }

    #[test]
    fn a_template_that_refuses_or_is_wrong_says_so_in_one_line() {
        let refuses = "{{ raise_exception('roles must alternate') }}";
        let template = ChatTemplate::new(refuses, String::new(), String::new()).expect("parses");
        let error = template.render(&[]).expect_err("refused").to_string();
        assert!(
            error.contains("roles must alternate") && !error.contains('\n'),
            "{error}"
        );
        let error = ChatTemplate::new("a\n{% if %}", String::new(), String::new());
        let error = error.expect_err("no template").to_string();
        assert!(error.contains("chat:2") && !error.contains('\n'), "{error}");
    }
}
