//! `nibblama tokenize`.

use serde_json::json;

use crate::args::Tokenize;
use crate::output::{Outcome, print, print_json};
use crate::text::Text;

pub fn run(args: &Tokenize, json: bool) -> Outcome {
    let text = Text::load(&args.dir)?;
    if let Some(ids) = &args.input.ids {
        let decoded = text.decode(&ids.0, false)?;
        return if json {
            print_json(&json!({ "ids": ids.0, "text": decoded }))
        } else {
            print(&format!("{decoded}\n"))
        };
    }
    let (source, ids) = match (&args.input.text, &args.input.chat) {
        (Some(source), _) => (source.clone(), text.encode(source, !args.no_special)?),
        (None, Some(message)) => {
            // The template writes the special tokens itself.
            let rendered = text.render_chat(args.system.as_deref(), message)?;
            let ids = text.encode(&rendered, false)?;
            (rendered, ids)
        }
        (None, None) => unreachable!("clap asks for one of --text, --chat and --ids"),
    };
    if json {
        let tokens = ids.iter().map(|&id| text.token(id)).collect::<nibblama::Result<Vec<_>>>()?;
        print_json(&json!({ "ids": ids, "tokens": tokens, "text": source }))
    } else {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        print(&format!("{}\n", ids.join(",")))
    }
}
