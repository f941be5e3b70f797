"""A database given by its address, tried once before MLflow tries it."""

from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

_DIALECTS = ("postgresql", "mysql", "mssql")


def require_answer(uri: str) -> None:
    """Refuse a database server that does not answer.

    MLflow would try again for most of an hour, and keep every other store of this process waiting.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it does not answer, or not to this user.
        mlflow.exceptions.MlflowException: the driver that the address names is not installed.
    """
    if not uri.startswith(_DIALECTS):
        return
    try:
        engine = create_engine(uri, poolclass=NullPool)
    except ImportError as error:
        raise MlflowException(f"{error}; install what the database needs") from error
    with engine.connect():
        pass
