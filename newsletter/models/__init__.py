"""The schema, one file per table; a test compares the migrations with this list.

Model files never import one another: foreign keys refer to table names.
"""

from newsletter.models.address_change import AddressChange
from newsletter.models.announcement import Announcement
from newsletter.models.article import Article, ArticleAlias, ArticleState
from newsletter.models.article_order import ArticleOrder
from newsletter.models.attempt import Attempt
from newsletter.models.audit import Audit
from newsletter.models.click_count import ClickCount
from newsletter.models.consent import Consent
from newsletter.models.delivery import Delivery, State
from newsletter.models.desk import DeskLogin, DeskSession
from newsletter.models.edition import Edition, EditionState
from newsletter.models.feed import Feed
from newsletter.models.finding import KeptFinding
from newsletter.models.freeze_lock import FreezeLock
from newsletter.models.holding import Holding
from newsletter.models.mailing import BULK, Kind, Mailing, MailingArticle, Role
from newsletter.models.note import Note
from newsletter.models.pace import Pace, RateWindow
from newsletter.models.progress import Progress
from newsletter.models.report import Receipt, Rejection, Report
from newsletter.models.scheduler import SchedulerRun
from newsletter.models.subscriber import Status, Subscriber
from newsletter.models.suppression import Cause, Suppression
from newsletter.models.tally import TallyPart
from newsletter.models.throttle import Throttle
from newsletter.models.worker import ProcessKind, Worker

__all__ = [
    "BULK",
    "AddressChange",
    "Announcement",
    "Article",
    "ArticleAlias",
    "ArticleOrder",
    "ArticleState",
    "Attempt",
    "Audit",
    "Cause",
    "ClickCount",
    "Consent",
    "Delivery",
    "DeskLogin",
    "DeskSession",
    "Edition",
    "EditionState",
    "Feed",
    "FreezeLock",
    "Holding",
    "KeptFinding",
    "Kind",
    "Mailing",
    "MailingArticle",
    "Note",
    "Pace",
    "ProcessKind",
    "Progress",
    "RateWindow",
    "Receipt",
    "Rejection",
    "Report",
    "Role",
    "SchedulerRun",
    "State",
    "Status",
    "Subscriber",
    "Suppression",
    "TallyPart",
    "Throttle",
    "Worker",
]
