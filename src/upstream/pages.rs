//! Reading a whole range, however large, at one revision.

use tonic::Status;

use super::client::Client;
use crate::pb::etcdserverpb::{RangeRequest, ResponseHeader};
use crate::pb::mvccpb::KeyValue;

/// Pairs in one page.
const PAGE: i64 = 2_000;

impl Client {
    /// Reads a range at the revision of the request, or at the current one for 0, and hands over page by page. Returns
    /// the header of the first, whose revision all are of if none was given.
    pub async fn read_pages(
        &self,
        range: RangeRequest,
        mut take: impl FnMut(Vec<KeyValue>) + Send,
    ) -> Result<ResponseHeader, Status> {
        let mut page = RangeRequest { limit: PAGE, ..range };
        let mut first = None;
        loop {
            let response = self.range(page.clone()).await?;
            let header = response.header.ok_or_else(|| Status::internal("an answer without a header"))?;
            let first = *first.get_or_insert(header);
            if page.revision == 0 {
                page.revision = first.revision;
            }
            let last = response.kvs.last().map(|pair| pair.key.clone());
            take(response.kvs);
            match last {
                Some(last) if response.more => page.key = [last.as_ref(), b"\0"].concat().into(),
                _ => return Ok(first),
            }
        }
    }
}
