from .directory import RunDirectory as RunDirectory
from .drive import drive as drive
from .metrics import Logger as Logger
from .metrics import TensorBoard as TensorBoard
