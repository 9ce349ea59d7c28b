from .table import cache_teacher
from .table_reader import TeacherTable, open_table
