//! Tags: Docker's `tag` option, a template like `{{.ImageName}}/{{.Name}}`.
//!
//! Only what a tag needs of Go's templates: fields between braces. Conditions and functions are refused by name, because
//! a tag that silently means something else is worse than an error that `docker run` shows.

use super::info::Info;

/// A template that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    FullId,
    Name,
    ImageId,
    ImageFullId,
    ImageName,
    DaemonName,
    Command,
}

/// The fields, with Docker's names.
const FIELDS: [(&str, Field); 8] = [
    (".ID", Field::Id),
    (".FullID", Field::FullId),
    (".Name", Field::Name),
    (".ImageID", Field::ImageId),
    (".ImageFullID", Field::ImageFullId),
    (".ImageName", Field::ImageName),
    (".DaemonName", Field::DaemonName),
    (".Command", Field::Command),
];

/// How much of an id Docker shows, in bytes.
const SHORT: usize = 12;

impl Tag {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(template: &str) -> Result<Tag, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, behind)) = rest.split_once("{{") {
            let (action, behind) =
                behind.split_once("}}").ok_or_else(|| format!("`{{{{` without `}}}}` in `{template}`"))?;
            let name = action.trim();
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = FIELDS.iter().map(|(known, _)| format!("{{{{{known}}}}}")).collect();
                return Err(format!("`{{{{{action}}}}}` is not known; there are {}", known.join(" ")));
            };
            parts.push(Part::Text(text.to_owned()));
            parts.push(Part::Field(*field));
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Tag(parts))
    }

    /// The tag of this container.
    pub fn of(&self, info: &Info) -> String {
        let short = |id: &str| id.get(..SHORT).unwrap_or(id).to_owned();
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(Field::Id) => short(&info.container_id),
            Part::Field(Field::FullId) => info.container_id.clone(),
            Part::Field(Field::Name) => info.name().to_owned(),
            // With the name of the hash, as Docker has it.
            Part::Field(Field::ImageId) => short(&info.image_id),
            Part::Field(Field::ImageFullId) => info.image_id.clone(),
            Part::Field(Field::ImageName) => info.image_name.clone(),
            Part::Field(Field::DaemonName) => info.daemon_name.clone(),
            Part::Field(Field::Command) => info.command(),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        #[track_caller]
        fn check(template: &str, want: Result<&str, &str>) {
            let info = Info {
                container_id: "0123456789abcdef".to_owned(),
                container_name: "/api".to_owned(),
                image_id: "sha256:fedcba9876".to_owned(),
                image_name: "acme/api:1".to_owned(),
                daemon_name: "docker".to_owned(),
                entrypoint: vec!["sh".to_owned()],
                args: vec!["-c".to_owned(), "x".to_owned()],
                ..Info::default()
            };
            match (Tag::parse(template).map(|tag| tag.of(&info)), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want),
                (Err(found), Err(want)) => assert!(found.contains(want), "{found}"),
                (found, want) => panic!("{template}: {found:?}, not {want:?}"),
            }
        }
        check("", Ok(""));
        check("plain", Ok("plain"));
        check("{{.ID}}", Ok("0123456789ab"));
        check("{{ .Name }}/{{.FullID}}", Ok("api/0123456789abcdef"));
        check(
            "{{.ImageName}} {{.ImageID}} {{.ImageFullID}}",
            Ok("acme/api:1 sha256:fedcb sha256:fedcba9876"),
        );
        check("<{{.DaemonName}}|{{.Command}}>", Ok("<docker|sh -c x>"));
        check("{{.Nmae}}", Err("`{{.Nmae}}` is not known; there are {{.ID}} {{.FullID}}"));
        check("{{.ID", Err("without `}}`"));
        check("{{if .ID}}", Err("not known"));
    }
}
