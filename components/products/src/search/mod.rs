//! Search: by words, and by likeness where no word is found.

mod asked;
mod facets;
mod hit;
mod snippet;
pub mod sql;
mod words;

use serde::Serialize;
use utoipa::ToSchema;
use wasmyard_guest::{Problem, QueryProblems, RankedPlace, Request, Response, Value, query};

use asked::Asked;
use facets::Facets;
use hit::Hit;
use words::Words;

use crate::product::NAME_LENGTH_MAX;

/// The search's path.
pub(crate) const PATH: &str = "/api/v1/products/search";

/// Finds products by words, and by likeness where no product has them.
///
/// The words are found in any form, accents or not, and the last one may still be being typed;
/// `"quotes"`, `or` and `-not` mean what they do elsewhere. The best come first. Of more than
/// 5,000 products only so many are ranked and shown, the newest; facets count all that have
/// the words.
#[utoipa::path(get, path = PATH, params(Asked), responses(
    (status = 200, description = "A page of what was found.", body = Answer<'_>, headers(
        ("Link" = String, description = "The next page (RFC 8288), if there is one."),
    )),
    QueryProblems,
))]
// Nothing of it is cached: what may be asked for has no end, and the cache has.
pub(crate) fn search(request: &Request) -> Result<Response, Problem> {
    let parameters = request.query()?;
    let asked = Asked::read(&parameters)?;
    let (matching, mut products) = find(&asked)?;
    let facets = if asked.facets { Some(Facets::of(&asked, matching)?) } else { None };

    let size = usize::try_from(asked.limit).unwrap_or_default();
    let more = products.len() > size;
    products.truncate(size);
    let last = products.last().filter(|_| more);
    let next = last.map(|hit| RankedPlace { list: matching.list(), rank: hit.millionths(), id: hit.id() });
    let next = next.map(RankedPlace::cursor);
    let link =
        next.as_deref().map(|next| format!("<{PATH}?{}>; rel=\"next\"", parameters.with("cursor", next)));
    let response = Response::json(200, &Answer { query: &asked.text, matching, products, facets, next })?;
    Ok(match link {
        Some(link) => response.with_header("link", &link),
        None => response,
    })
}

/// What a search answers.
#[derive(Serialize, ToSchema)]
#[schema(as = SearchAnswer)]
struct Answer<'a> {
    /// What was looked for.
    #[schema(example = "smartwatch")]
    query: &'a str,
    #[serde(rename = "match")]
    matching: Matching,
    products: Vec<Hit>,
    /// There only if `facets` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    facets: Option<Facets>,
    /// The cursor of the next page.
    #[schema(required, example = "AgAACUa3AAAAAQ")]
    next: Option<String>,
}

/// How products were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Matching {
    /// They have the words.
    Words,
    /// No product has them, and the names of these look like them.
    Similarity,
}

impl Matching {
    /// Its number in a cursor.
    fn list(self) -> u8 {
        match self {
            Self::Words => 0,
            Self::Similarity => 1,
        }
    }

    fn of(list: u8) -> Option<Self> {
        [Self::Words, Self::Similarity].into_iter().find(|matching| matching.list() == list)
    }
}

/// A page and one product more, if there is one. A later page goes on in the list that
/// the first one began.
fn find(asked: &Asked) -> Result<(Matching, Vec<Hit>), Problem> {
    if let Some((matching, place)) = asked.place {
        return Ok((matching, page(asked, matching, Some(place))?));
    }
    let found = page(asked, Matching::Words, None)?;
    if !found.is_empty() || (asked.is_narrowed() && known(asked)?) {
        return Ok((Matching::Words, found));
    }
    Ok((Matching::Similarity, page(asked, Matching::Similarity, None)?))
}

/// Whether there are products with the words that only the filters keep out.
fn known(asked: &Asked) -> Result<bool, Problem> {
    let Words { whole, before, begun } = Words::of(&asked.text);
    let known = query(sql::KNOWN, &[whole.into(), before.into(), begun.into()])?;
    Ok(known.first(|row| row.get("known"))? == Some(true))
}

fn page(asked: &Asked, matching: Matching, after: Option<RankedPlace>) -> Result<Vec<Hit>, Problem> {
    let statement = match matching {
        Matching::Words => sql::WORDS,
        Matching::Similarity => sql::SIMILARITY,
    };
    let (rank, id) = (after.map(|place| place.rank), after.map(|place| place.id));
    let place = [rank.into(), id.into(), (asked.limit + 1).into()];
    let params: Vec<Value> = params(asked, matching).into_iter().chain(place).collect();
    Ok(query(statement, &params)?.all(Hit::from_row)?)
}

/// The filters, and what is looked for.
fn params(asked: &Asked, matching: Matching) -> Vec<Value> {
    let mut params = vec![
        asked.category.clone().into(),
        asked.price_min.into(),
        asked.price_max.into(),
        asked.in_stock.into(),
    ];
    let Words { whole, before, begun } = Words::of(&asked.text);
    match matching {
        Matching::Words => params.extend([whole.into(), before.into(), begun.into()]),
        // No name is longer, and each character is compared with those of every name.
        Matching::Similarity => {
            params.push(whole.chars().take(NAME_LENGTH_MAX).collect::<String>().into());
        }
    }
    params
}
